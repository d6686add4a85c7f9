//! What containers are made of beyond their pools' specs: the bundled image, the worker's program.

use std::sync::Arc;

use clb_protocol::pool::PoolSpec;

/// What identifies an image or a program: the id of the image, the volume with the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build(pub Arc<str>);

/// What containers are made of now; `None` while nobody could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builds {
    /// The bundled image.
    pub bundled: Option<Build>,
    /// The worker's program, for images that do not have it.
    pub program: Option<Build>,
}

impl Builds {
    /// What makes the containers of a pool others than before, though its spec is the same.
    #[must_use]
    pub fn of(&self, spec: &PoolSpec) -> Option<&Build> {
        if spec.image.is_some() { self.program.as_ref() } else { self.bundled.as_ref() }
    }
}
