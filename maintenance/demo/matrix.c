/* The library that the demo's provider wheel supplies: row-major products of matrices. */

#include <stddef.h>

#define PRODUCT(NAME, TYPE)                                                              \
    void NAME(size_t rows, size_t inner, size_t columns, const TYPE *a, const TYPE *b,   \
              TYPE *c)                                                                   \
    {                                                                                    \
        for (size_t i = 0; i < rows; i++) {                                              \
            for (size_t j = 0; j < columns; j++)                                         \
                c[i * columns + j] = 0;                                                  \
            for (size_t k = 0; k < inner; k++)                                           \
                for (size_t j = 0; j < columns; j++)                                     \
                    c[i * columns + j] += a[i * inner + k] * b[k * columns + j];         \
        }                                                                                \
    }

PRODUCT(demo_matrix_product_f32, float)
PRODUCT(demo_matrix_product_f64, double)
PRODUCT(demo_matrix_product_i32, int)
PRODUCT(demo_matrix_product_i64, long long)
