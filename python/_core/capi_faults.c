/* capi_faults.c: the places of capi_faults.h: counted, armed, and told to the tests. Test builds only.
 *
 * A place is a call in our source, known by file and line; the same place may be passed many times, so what
 * is armed is "the n-th time that this place is passed from now on". It fails once and is then disarmed, so
 * that whatever handles the failure works again, as after a moment without memory.
 *
 * A mutex guards all of it, for memory is also asked for without the GIL. */
#define LP_CAPI_FAULTS_ITSELF 1
#include "state.h"

#include "capi_faults.h"
#include <pthread.h>
#include <string.h>

typedef struct place {
    const char *function, *file;
    int line;
    unsigned passed; /* since faults were armed or forgotten last */
} place;

enum {
    MOST_PLACES = 4096 /* a power of two, some three times what there is */
};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
/* under mu */
static place places[MOST_PLACES];
static place *armed;
static unsigned at_passing;
static bool fired;
/* GIL */
static PyObject *exception;

/* The entry of a call; made when it is passed for the first time. Under mu. */
static place *find(const char *function, const char *file, int line)
{
    size_t at = ((uintptr_t)file * 31 + (unsigned)line) & (MOST_PLACES - 1);
    for (size_t tries = 0; tries < MOST_PLACES; tries++, at = (at + 1) & (MOST_PLACES - 1)) {
        place *here = &places[at];
        if (!here->file)
            *here = (place){.function = function, .file = file, .line = line};
        if (here->line == line && here->file == file && here->function == function)
            return here;
    }
    Py_FatalError("capi_faults.c: more places than MOST_PLACES");
}

bool lp_capi_fault_bare(const char *function, const char *file, int line)
{
    pthread_mutex_lock(&mu);
    place *here = find(function, file, line);
    bool fails = ++here->passed == at_passing && here == armed;
    if (fails) {
        armed = NULL;
        fired = true;
    }
    pthread_mutex_unlock(&mu);
    return fails;
}

bool lp_capi_fault(const char *function, const char *file, int line)
{
    if (!lp_capi_fault_bare(function, file, line))
        return false;
    PyErr_Format(exception, "fault at %s:%d %s", file, line, function);
    return true;
}

/* "convert.c:12 PyLong_AsLong": the place's name, in `ret_name` of `size` bytes. */
static void name_of(const place *here, size_t size, char *ret_name)
{
    const char *base = strrchr(here->file, '/');
    snprintf(ret_name, size, "%s:%d %s", base ? base + 1 : here->file, here->line, here->function);
}

static PyObject *faults_arm(PyObject *module, PyObject *args)
{
    (void)module;
    const char *wanted;
    unsigned nth;
    PyObject *type, *old = exception;
    if (!PyArg_ParseTuple(args, "zIO:_fault_arm", &wanted, &nth, &type))
        return NULL;
    bool found = !wanted;
    pthread_mutex_lock(&mu);
    armed = NULL;
    fired = false;
    at_passing = nth;
    for (size_t i = 0; i < MOST_PLACES; i++) {
        char name[200];
        if (!places[i].file)
            continue;
        places[i].passed = 0;
        name_of(&places[i], sizeof name, name);
        if (wanted && !strcmp(name, wanted)) {
            armed = &places[i];
            found = true;
        }
    }
    pthread_mutex_unlock(&mu);
    exception = Py_NewRef(type);
    Py_XDECREF(old);
    if (!found)
        return PyErr_Format(PyExc_LookupError, "no call has been seen at %s", wanted);
    Py_RETURN_NONE;
}

static PyObject *faults_places(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < MOST_PLACES; i++) {
        char name[200];
        pthread_mutex_lock(&mu);
        unsigned passed = places[i].passed;
        if (passed)
            name_of(&places[i], sizeof name, name);
        pthread_mutex_unlock(&mu);
        if (!passed)
            continue;
        PyObject *count = PyLong_FromUnsignedLong(passed);
        if (!count || PyDict_SetItemString(dict, name, count) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(count);
    }
    return dict;
}

static PyObject *faults_fired(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    pthread_mutex_lock(&mu);
    bool now = fired;
    pthread_mutex_unlock(&mu);
    return PyBool_FromLong(now);
}

static PyMethodDef functions[] = {
    {"_fault_arm", faults_arm, METH_VARARGS,
     "_fault_arm(place, nth, exception, /)\n--\n\nThe nth passing of a place fails with that exception, once; None "
     "for the place: none does. The counts begin anew."},
    {"_fault_places", faults_places, METH_NOARGS,
     "_fault_places()\n--\n\nThe places that were passed, and how often."},
    {"_fault_fired", faults_fired, METH_NOARGS,
     "_fault_fired()\n--\n\nWhether the armed fault has happened."},
    {NULL, NULL, 0, NULL},
};

int lp_capi_faults_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
