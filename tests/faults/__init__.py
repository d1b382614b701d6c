"""One file per kind of fault: what it reads, what it refuses, what it decides."""
