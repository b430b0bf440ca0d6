"""What every test shares."""

import os

# The tests' products are small: on busy cores a second thread makes each of them much slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
