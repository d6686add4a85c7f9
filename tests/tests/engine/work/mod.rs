//! Real work from the command line, as people do it.

mod batch;
mod lines;
mod seed;
mod thumbnails;
