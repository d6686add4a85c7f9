//! Pools of workers.

use clb_protocol::api::{PoolPage, PoolView};
use clb_protocol::pool::PoolSpec;

use super::Client;
use super::call::{Call, segment};
use crate::Error;

impl Client {
    /// Every pool, by name.
    pub async fn pools(&self) -> Result<Vec<PoolView>, Error> {
        let page: PoolPage = self.ask(Call::get("/api/v1/pools")).await?;
        Ok(page.pools)
    }

    /// One pool.
    pub async fn pool(&self, name: &str) -> Result<PoolView, Error> {
        self.ask(Call::get(pool_path(name))).await
    }

    /// Makes a pool, or makes it like this from now on; what runs is not interrupted.
    pub async fn set_pool(&self, name: &str, spec: &PoolSpec) -> Result<PoolView, Error> {
        self.ask(Call::put(pool_path(name), spec)?).await
    }

    /// Deletes a pool; one of the environment or of the file goes back to what stands there.
    pub async fn delete_pool(&self, name: &str) -> Result<(), Error> {
        self.ask_nothing(Call::delete(pool_path(name))).await
    }

    /// Lets a pool finish what it has and begin nothing.
    pub async fn pause_pool(&self, name: &str) -> Result<PoolView, Error> {
        self.ask(Call::post_nothing(format!("{}/pause", pool_path(name)))).await
    }

    /// Lets a paused pool work again.
    pub async fn resume_pool(&self, name: &str) -> Result<PoolView, Error> {
        self.ask(Call::post_nothing(format!("{}/resume", pool_path(name)))).await
    }
}

fn pool_path(name: &str) -> String {
    format!("/api/v1/pools/{}", segment(name))
}
