//! The library as an embedding program sees it: public names only.

mod asking;
