// Package smoke runs the benchmark for a short time, to see that it works.
package smoke
