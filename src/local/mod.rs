//! Real servers for development and tests, started as children of this process on free ports of 127.0.0.1.
//!
//! Invariant: they do not outlive this process by more than a few seconds, however it ends, and what an earlier start
//! left running does not block the next one. Linux only (it reads `/proc`). Only `marquee up` and tests use this; in production
//! the servers are run separately.
//! Invariant: no other user of this machine can log in to a server: each has a random password, stored in its folder.

mod binary;
mod folder;
mod guard;
mod nats;
mod postgres;
mod rabbitmq;
mod redis;
mod secret;
mod server;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use folder::Folder;
pub use nats::Nats;
pub use postgres::{Postgres, shared_postgres};
pub use rabbitmq::{RabbitMq, shared_rabbitmq};
pub use redis::Redis;
pub use secret::{random, read_or_create, temporary_password};
pub use server::{Engine, Server};

use folder::Ownership;

/// The name of the database on a local Postgres.
pub const DATABASE: &str = "marquee";

/// The folder with all of these programs, for a caller that starts servers itself; an error says how to install them.
pub fn folder_of(programs: &[&str]) -> Result<PathBuf> {
    binary::folder_of(programs).ok_or_else(|| binary::missing(&programs.join(", ")))
}

/// Servers that are run separately; those that are not given are started.
#[derive(Clone, Debug, Default)]
pub struct External {
    pub database_url: Option<String>,
    pub nats_url: Option<String>,
    pub redis_url: Option<String>,
}

/// All servers of a deployment in one process.
#[derive(Debug)]
pub struct Servers {
    pub database_url: String,
    pub nats_url: String,
    /// None where Redis is not installed: everything works without it.
    pub redis_url: Option<String>,
    pub postgres: Option<Postgres>,
    pub nats: Option<Nats>,
    pub redis: Option<Redis>,
    _ownership: Ownership,
}

impl Servers {
    /// Starts the servers that are not given, concurrently; when this returns all are ready and the database exists.
    pub async fn start(folder: &Folder, external: External) -> Result<Self> {
        let is_ours = folder.is_ours();
        let ownership = folder.own().await?;
        if is_ours {
            let postgres = folder.path().join("postgres");
            folder.close(if external.database_url.is_none() {
                postgres::account(&postgres)?
            } else {
                None
            })?;
        } else {
            tracing::warn!(folder = %folder.path().display(), "other files are in the data folder, so its permissions are not changed: other users may read it");
        }
        let (postgres, nats, redis) = tokio::try_join!(
            async {
                if external.database_url.is_some() {
                    return Ok(None);
                }
                let postgres = Postgres::start(&folder.join("postgres")?, true).await?;
                let url = postgres.create_database(DATABASE).await.context("cannot create the database")?;
                anyhow::Ok(Some((postgres, url)))
            },
            async {
                let is_started = external.nats_url.is_none();
                anyhow::Ok(if is_started { Some(Nats::start(&folder.join("nats")?).await?) } else { None })
            },
            async { anyhow::Ok(if external.redis_url.is_none() { start_redis(folder).await } else { None }) },
        )?;
        let (postgres, database_url) = postgres.unzip();
        Ok(Self {
            database_url: external.database_url.or(database_url).unwrap_or_default(),
            nats_url: external.nats_url.or(nats.as_ref().map(Nats::url)).unwrap_or_default(),
            redis_url: external.redis_url.or(redis.as_ref().map(Redis::url)),
            postgres,
            nats,
            redis,
            _ownership: ownership,
        })
    }

    /// Shuts down the servers that were started; call it after everything that uses them has stopped.
    pub async fn stop(mut self) -> Result<()> {
        let (postgres, nats, redis) =
            tokio::join!(stop(self.postgres.as_mut()), stop(self.nats.as_mut()), stop(self.redis.as_mut()));
        postgres.and(nats).and(redis)
    }
}

async fn start_redis(folder: &Folder) -> Option<Redis> {
    if !Redis::is_installed() {
        return None;
    }
    let redis = async { Redis::start(&folder.join("redis")?).await };
    redis.await.inspect_err(|error| tracing::warn!("going on without Redis: {error:#}")).ok()
}

async fn stop<E: Engine>(server: Option<&mut Server<E>>) -> Result<()> {
    match server {
        Some(server) => server.stop().await,
        None => Ok(()),
    }
}
