"""The record of where data came from, and its graph; imports nothing else of the project."""
