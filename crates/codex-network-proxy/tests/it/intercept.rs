//! Inside TLS (SPEC E4 and H, THREATS 19 to 25): what a client of an opened tunnel can do, and what it cannot.

mod attacks;
mod identity;
mod matrix;
mod origins;
mod property;
mod requests;
