"""Tests on a real cluster (`make test-cluster`); `make test` leaves them out."""
