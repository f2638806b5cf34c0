/* adapters.c: whether somebody registered an adapter for int, float, str, bytes, bytearray or None.
 *
 * These need none, and a statement's parameters are mostly these; asking the registry for each of them
 * would cost as much as converting it. sqlite3 notes at register_adapter() whether one was for a base
 * type. We cannot see that call, but the registry is a dictionary that can be watched: up to 3.11 each
 * dictionary carries the number of its last change, from 3.12 on a watcher is told of changes. So a
 * statement compares two numbers, and six keys are looked up when the registry has changed. */
#include "adapters.h"

#if PY_VERSION_HEX < 0x030C0000

uint64_t lp_adapters_version(const lp_state *st)
{
    return ((const PyDictObject *)st->sqlite3.adapters)->ma_version_tag;
}

static int watch(const lp_state *st)
{
    (void)st;
    return 0;
}

#else

/* Of the process, under the GIL: changes of all watched dictionaries, of which there is one. */
static uint64_t changes;

uint64_t lp_adapters_version(const lp_state *st)
{
    (void)st;
    return changes;
}

static int changed(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    (void)event;
    (void)dict;
    (void)key;
    (void)value;
    changes++;
    return 0;
}

static int watch(const lp_state *st)
{
    int id = PyDict_AddWatcher(changed);
    return id < 0 ? -1 : PyDict_Watch(id, st->sqlite3.adapters);
}

#endif

int lp_adapters_look(lp_state *st, uint64_t version)
{
    PyTypeObject *const bases[] = {
        &PyLong_Type,  &PyFloat_Type,     &PyUnicode_Type,
        &PyBytes_Type, &PyByteArray_Type, Py_TYPE(Py_None),
    };
    int found = 0;
    for (size_t i = 0; !found && i < sizeof bases / sizeof *bases; i++) {
        PyObject *key = PyTuple_Pack(2, bases[i], st->sqlite3.PrepareProtocol);
        found = !key                                               ? -1
              : PyDict_GetItemWithError(st->sqlite3.adapters, key) ? 1
              : PyErr_Occurred()                                   ? -1
                                                                   : 0;
        Py_XDECREF(key);
    }
    if (found < 0)
        return -1;
    st->adapters_seen = version;
    st->bases_adapted = found;
    return found;
}

int lp_adapters_init(lp_state *st)
{
    st->adapters_seen = LP_ADAPTERS_UNSEEN;
    return watch(st);
}
