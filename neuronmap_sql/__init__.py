"""Run a neural network once, then ask everything in SQL."""
