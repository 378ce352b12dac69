/* Double precision. */
#include "bench.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static uint64_t rounded(double value)
{
	return (uint64_t)llrint(value * 1e6);
}

#define BODIES 5

struct body {
	double x[3], v[3], mass;
};

static void advance(struct body *bodies, double step)
{
	for (int i = 0; i < BODIES; i++)
		for (int j = i + 1; j < BODIES; j++) {
			double d[3], square = 0.01, scale;

			for (int k = 0; k < 3; k++) {
				d[k] = bodies[i].x[k] - bodies[j].x[k];
				square += d[k] * d[k];
			}
			scale = step / (square * sqrt(square));
			for (int k = 0; k < 3; k++) {
				bodies[i].v[k] -= d[k] * bodies[j].mass * scale;
				bodies[j].v[k] += d[k] * bodies[i].mass * scale;
			}
		}
	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++)
			bodies[i].x[k] += step * bodies[i].v[k];
}

/* Far apart and slow, so that what rounding does stays small. */
static uint64_t nbody_run(void)
{
	struct body bodies[BODIES];
	double sum = 0;

	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++) {
			bodies[i].x[k] = 3.0 * i * (k - 1) + k;
			bodies[i].v[k] = 0.01 * (i - 2) * (k + 1);
			bodies[i].mass = 0.001 * (i + 1);
		}
	for (int n = 0; n < 200000; n++)
		advance(bodies, 1e-5);
	for (int i = 0; i < BODIES; i++)
		sum += bodies[i].x[0] - 2 * bodies[i].x[1] + 3 * bodies[i].x[2];
	return rounded(sum);
}

#define SIDE 192

static double left[SIDE][SIDE], right[SIDE][SIDE], product[SIDE][SIDE];

static void matrix_prepare(void)
{
	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			left[i][j] = (i * 3 + j * 7) % 11 * 0.25;
			right[i][j] = (i * 5 + j) % 13 * 0.125;
		}
}

static uint64_t matrix_run(void)
{
	double sum = 0;

	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < SIDE; i++)
			for (int j = 0; j < SIDE; j++) {
				double cell = 0;

				for (int k = 0; k < SIDE; k++)
					cell += left[i][k] * right[k][j];
				product[i][j] = cell;
			}
		left[round][round] += product[round][0] / 1024;
	}
	for (int i = 0; i < SIDE; i++)
		sum += product[i][i];
	return rounded(sum);
}

static uint64_t libm_run(void)
{
	double sum = 0;

	for (int i = 1; i <= 400000; i++) {
		double x = i / 1000.0;

		sum += sin(x) * cos(x / 3) + log(x) - exp(-x / 50) + sqrt(x) / (1 + atan(x)) + pow(x, 0.3);
	}
	return rounded(sum / 1000);
}

const struct bench benches_float[] = {
	{"nbody", NULL, nbody_run},
	{"matrix", matrix_prepare, matrix_run},
	{"libm", NULL, libm_run},
	{NULL, NULL, NULL},
};
