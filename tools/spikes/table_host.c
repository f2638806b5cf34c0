/*
 * Spike: an interpreter with _sqlite3 built in, as in Pythons that are one
 * file.  Linked with pysqlite3's module sources and with SQLite in the three
 * ways that table_hosts.sh tries.  Run: ./host script.py [args]
 *
 * With -DLAUNCH=file: a program that loads such a host (made with -shared and
 * -Dmain=host_main) without showing its names to others, as some servers do.
 */
#ifdef LAUNCH
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *h = dlopen(LAUNCH, RTLD_NOW | RTLD_LOCAL);
    int (*host_main)(int, char **);
    if (!h)
        return fprintf(stderr, "%s\n", dlerror()), 1;
    *(void **)&host_main = dlsym(h, "host_main");
    return host_main(argc, argv);
}
#else
#include <Python.h>

PyMODINIT_FUNC PyInit__sqlite3(void);

int main(int argc, char **argv)
{
    PyImport_AppendInittab("_sqlite3", PyInit__sqlite3);
    return Py_BytesMain(argc, argv);
}
#endif
