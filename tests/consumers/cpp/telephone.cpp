// telephone.cpp: a program in C++17 that uses the installed library: handles in unique_ptr, a callback that is
// a lambda, a result as a vector, errors as exceptions.
#include <looplite.h>

#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

template <auto end> struct give_back {
    template <typename T> void operator()(T *thing) const
    {
        end(thing);
    }
};
using engine_ptr = std::unique_ptr<ll_engine, give_back<ll_engine_free>>;
using conn_ptr = std::unique_ptr<ll_conn, give_back<ll_conn_unref>>;
using batch_ptr = std::unique_ptr<ll_batch, give_back<ll_batch_free>>;

using row_fn = std::function<void(const ll_value *, std::size_t)>;

struct pending {
    row_fn each;
    std::string error;
    bool called = false;
};

static void finish(ll_request *request, pending &what)
{
    what.called = true;
    if (ll_request_status(request) != LL_OK)
        what.error = ll_request_error(request)->message;
    while (batch_ptr batch{ll_request_take_batch(request)})
        for (std::size_t i = 0; what.each && i < ll_batch_rows(batch.get()); i++)
            what.each(ll_batch_row(batch.get(), i), ll_batch_columns(batch.get()));
}

static void run(ll_engine *engine, ll_conn *conn, const char *sql, std::vector<ll_value> values = {},
                row_fn each = nullptr)
{
    pending what{std::move(each), {}};
    ll_submit how{};
    how.done = [](ll_request *request, void *user) { finish(request, *static_cast<pending *>(user)); };
    how.user = &what;
    ll_request *request = nullptr;
    ll_status status = ll_query(conn, sql, values.data(), values.size(), &how, &request);
    if (status == LL_OK)
        finish(request, what);
    else if (status < 0)
        what.error = ll_last_error();
    else
        while (!what.called) // not ll_request_is_done(): that is true before the callback has come
            if (ll_engine_wait(engine, -1, nullptr) != LL_OK)
                throw std::runtime_error(ll_last_error());
    ll_request_unref(request);
    if (!what.error.empty())
        throw std::runtime_error(what.error);
}

static int check()
{
    ll_engine *raw_engine = nullptr;
    if (ll_engine_new(nullptr, &raw_engine) != LL_OK)
        throw std::runtime_error(ll_last_error());
    engine_ptr engine{raw_engine};
    ll_conn *raw_conn = nullptr;
    ll_request *open = nullptr;
    if (ll_conn_open(engine.get(), ":memory:", nullptr, nullptr, &raw_conn, &open) < 0)
        throw std::runtime_error(ll_last_error());
    ll_request_unref(open);
    conn_ptr conn{raw_conn};

    run(engine.get(), conn.get(), "CREATE TABLE telephone(name TEXT PRIMARY KEY, number INTEGER)");
    std::int64_t number = 100;
    for (const char *name : {"Ada", "Grace", "Edsger"})
        run(engine.get(), conn.get(), "INSERT INTO telephone VALUES(?, ?)",
            {ll_text(name), ll_integer(number++)});
    std::vector<std::pair<std::string, std::int64_t>> book;
    run(engine.get(), conn.get(), "SELECT name, number FROM telephone ORDER BY name", {},
        [&](const ll_value *row, std::size_t) {
            book.emplace_back(std::string_view(row[0].as.text, row[0].size), row[1].as.integer);
        });
    for (const auto &[name, number_of] : book)
        std::cout << name << ": " << number_of << '\n';
    try {
        run(engine.get(), conn.get(), "INSERT INTO telephone VALUES('Ada', 1)");
        return 1;
    } catch (const std::runtime_error &error) {
        std::cout << "as it should: " << error.what() << '\n';
    }
    return book.size() == 3 && book[0].first == "Ada" && book[0].second == 100 ? 0 : 1;
}

int main()
{
    try {
        int code = check();
        return code != 0 || ll_live_objects() != 0;
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
