"""Sweeps: several trainings of one experiment that differ in a few keys, evaluated together, with an honest winner."""
