// adapter.cpp: an adapter's header as C++: it compiles without a warning.
#include ADAPTER
#include <looplite/sqlite.h>

int main()
{
    return ll_live_objects() == 0 ? 0 : 1;
}
