/* The extension module of the demo's consumer: multiplies two 2x2 matrices by the provider. */

#define Py_LIMITED_API 0x030b0000
#include <Python.h>

void demo_matrix_product_f64(size_t rows, size_t inner, size_t columns, const double *a,
                             const double *b, double *c);

static PyObject *
multiply(PyObject *module, PyObject *arguments)
{
    double a[4], b[4], c[4];

    if (!PyArg_ParseTuple(arguments, "(dddd)(dddd)", &a[0], &a[1], &a[2], &a[3], &b[0], &b[1],
                          &b[2], &b[3]))
        return NULL;
    demo_matrix_product_f64(2, 2, 2, a, b, c);
    return Py_BuildValue("(dddd)", c[0], c[1], c[2], c[3]);
}

static PyMethodDef methods[] = {
    {"multiply", multiply, METH_VARARGS, "multiply(a, b): the product of two 2x2 matrices"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_product", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__product(void)
{
    return PyModule_Create(&definition);
}
