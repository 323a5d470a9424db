//! Tests only: processes, ports, conditions with a deadline, fixtures.
