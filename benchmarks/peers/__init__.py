"""The programs that we are compared with, each as small as its documentation shows it."""
