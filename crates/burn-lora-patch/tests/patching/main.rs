//! The patch crate from outside: a small model of our own, and Burn's transformer encoder.

mod biased;
mod checkpoint;
mod combine;
mod convolutions;
mod eva;
mod face;
mod frozen;
mod learner;
mod mlp;
mod moved;
mod own_models;
mod parameters;
mod peft_config;
mod peft_files;
mod peft_told;
mod readers;
mod run_time;
mod select;
mod tables;
mod targets;
mod tokens;
