//! pretokenizer
