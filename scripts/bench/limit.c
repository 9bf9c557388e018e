// The machine's limit for the tutorials' network: 2 features -> H ReLU units -> 1 logit, 30 rows in one batch, Adam, L2 on
// the first kernel, one model after the other on one core, everything in the first-level caches.
//
//   cc -O3 -march=native -ffast-math -o limit limit.c -lm && ./limit MODELS STEPS
//
// Prints the milliseconds of one model. H is 512 in the place of 500, whole vectors of 16: 2 % more work. All of it stands
// in one function with its arrays local: GCC 12 makes vectors of these loops there, and of the same loops apart none.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define H 512
#define ROWS 30

typedef struct {
    float w0[H], w1[H], b[H], v[H], c;
} Weights;

static float x[ROWS][2], y[ROWS];

static inline void adam(float *restrict p, float *restrict m, float *restrict s, const float *restrict g, int n, float rate) {
    for (int i = 0; i < n; i++) {
        m[i] = 0.9f * m[i] + 0.1f * g[i];
        s[i] = 0.999f * s[i] + 0.001f * g[i] * g[i];
        p[i] -= rate * m[i] / (sqrtf(s[i]) + 1e-7f);
    }
}

int main(int count, char **argument) {
    if (count != 3) return fprintf(stderr, "usage: limit MODELS STEPS\n"), 2;
    int models = atoi(argument[1]), steps = atoi(argument[2]);
    for (int i = 0; i < ROWS; i++) x[i][0] = drand48() * 2 - 1, x[i][1] = drand48() * 2 - 1, y[i] = i & 1;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    float sink = 0;
    static Weights p, m, s, g;
    static float h[ROWS][H];
    for (int k = 0; k < models; k++) {
        for (int j = 0; j < H; j++) {
            p.w0[j] = (drand48() - .5) * .2, p.w1[j] = (drand48() - .5) * .2;
            p.b[j] = 0, p.v[j] = (drand48() - .5) * .2;
        }
        p.c = 0;
        memset(&m, 0, sizeof m), memset(&s, 0, sizeof s);
        double b1 = 1, b2 = 1;
        for (int t = 0; t < steps; t++) {
            float error[ROWS];
            for (int i = 0; i < ROWS; i++) {
                float x0 = x[i][0], x1 = x[i][1], z = 0;
#pragma GCC ivdep
                for (int j = 0; j < H; j++) {
                    float a = p.w0[j] * x0 + p.w1[j] * x1 + p.b[j];
                    a = a > 0 ? a : 0;
                    h[i][j] = a;
                    z += a * p.v[j];
                }
                error[i] = (1.f / (1.f + expf(-z - p.c)) - y[i]) / ROWS;
            }
            memset(&g, 0, sizeof g);
            for (int i = 0; i < ROWS; i++) {
                float x0 = x[i][0], x1 = x[i][1], e = error[i];
                g.c += e;
#pragma GCC ivdep
                for (int j = 0; j < H; j++) {
                    float a = h[i][j];
                    g.v[j] += a * e;
                    float through = a > 0 ? e : 0;
                    g.b[j] += through;
                    g.w0[j] += through * x0;
                    g.w1[j] += through * x1;
                }
            }
            for (int j = 0; j < H; j++) {
                float v = p.v[j];
                g.b[j] *= v;
                g.w0[j] = g.w0[j] * v + 2e-3f * p.w0[j];
                g.w1[j] = g.w1[j] * v + 2e-3f * p.w1[j];
            }
            b1 *= .9, b2 *= .999;
            adam((float *)&p, (float *)&m, (float *)&s, (float *)&g, 4 * H + 1, 1e-3 * sqrt(1 - b2) / (1 - b1));
        }
        sink += p.w0[0];
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (end.tv_sec - start.tv_sec) + 1e-9 * (end.tv_nsec - start.tv_nsec);
    printf("%.6g ms a model (%g)\n", 1e3 * seconds / models, sink);
}
