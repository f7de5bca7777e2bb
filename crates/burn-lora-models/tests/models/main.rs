//! Models against what transformers computed, and loading against every way a directory can differ.

mod batches;
mod config;
mod conversation;
mod described;
mod encoders;
mod fixture;
mod generation;
mod golden;
mod half;
mod loading;
mod loftq;
mod packing;
mod quantised;
mod roberta;
mod saving;
mod tokenizer;
