//! Real work from the command line, as people do it.

mod batch;
mod seed;
mod thumbnails;
