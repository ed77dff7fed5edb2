//! Two nodes on PostgreSQL and Redis, and what a message costs them.

fn main() {}
