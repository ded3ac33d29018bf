/* SPDX-License-Identifier: Apache-2.0 */
/* A strict reader of Prometheus' text exposition format. */
#pragma once

/*
 * Fails the test unless the text is what Prometheus accepts and its conventions want:
 * HELP, TYPE and samples of each metric together and once, names and labels of allowed
 * characters, known escapes, no series twice, numbers; names begin with "stencil_", and
 * counters, and only they, end with "_total".
 */
void assert_prometheus(const char *text);

/* The value of the series, written exactly so: "name" or "name{label=\"value\"}". Fails
 * the test if there is none. */
double prometheus_value(const char *text, const char *series);
