//! The daemon around the calls: its sockets, its configuration, and what it says of its host.

pub mod arguments;
pub mod commands;
pub mod config;
pub mod console;
pub mod cpu_time;
pub mod ctl;
pub mod daemon;
pub mod dashboard;
pub mod doctor;
pub mod event_log;
pub mod homer;
pub mod host_load;
pub mod instance;
pub mod journal;
pub mod library;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod observation;
pub mod orders;
pub mod plan;
pub mod records;
pub mod serve;
pub mod service;
pub mod state;
pub mod view;
