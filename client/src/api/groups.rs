//! What tasks belong to together.

use clb_protocol::api::GroupPage;

use super::Client;
use super::call::Call;
use crate::Error;

impl Client {
    /// A page of the groups whose names begin with `prefix`, in the order of their names and behind `cursor`, which
    /// is `next` of the page before; `limit` is at most 1000.
    pub async fn groups(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<GroupPage, Error> {
        let mut call = Call::get("/api/v1/groups").query("prefix", &prefix).query("limit", &limit);
        if let Some(cursor) = cursor {
            call = call.query("cursor", &cursor);
        }
        self.ask(call).await
    }
}
