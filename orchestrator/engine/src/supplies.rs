//! What the containers of pools are made of besides their own: images, the volume with the worker's
//! program, the network without a way out.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount, MountType, MountVolumeOptions,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateImageOptionsBuilder, InspectNetworkOptions,
    ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use clb_protocol::ContainerId;
use futures::{Stream, StreamExt};

use crate::list::{CLUSTER, ROLE};
use crate::{Docker, EngineError, PATIENT, QUICK, names, within};

/// Where the worker's program is in containers of foreign images.
pub const PROGRAM_FOLDER: &str = "/.clb";
pub(crate) const PROGRAM: &str = "/.clb/clb-worker";
const PROGRAM_NAME: &str = "clb-worker";
/// How long a registry may say nothing.
const PULL_SILENCE: Duration = Duration::from_mins(2);
/// What an archive of nothing takes.
const SMALL_ARCHIVE_BYTES: usize = 2_048;

impl Docker {
    /// The id of the image that has this name now; `None` when none on this machine has.
    pub async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        match within(QUICK, self.quick.inspect_image(names::image(image)?)).await {
            Ok(found) => found.id.map(Some).ok_or_else(|| EngineError::unreadable("an image without id")),
            Err(EngineError::NotFound { .. } | EngineError::ImageMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pulls an image; gives what the engine says meanwhile.
    pub fn pull(&self, image: &str) -> Result<impl Stream<Item = Result<Layer, EngineError>>, EngineError> {
        let image = names::image(image)?;
        let mut options = CreateImageOptionsBuilder::default().from_image(image);
        // Without a tag the engine pulls all there are.
        let last = image.rsplit('/').next().unwrap_or(image);
        if !last.contains([':', '@']) {
            options = options.tag("latest");
        }
        let progress = self.patient.create_image(Some(options.build()), None, None);
        let within_limits = tokio_stream::StreamExt::timeout(progress, PULL_SILENCE);
        Ok(within_limits.map(|item| match item {
            Ok(Ok(info)) => match info.error_detail.and_then(|error| error.message) {
                Some(message) => Err(EngineError::Refused { status: 500, message }),
                None => Ok(Layer { id: info.id, status: info.status.unwrap_or_default() }),
            },
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(EngineError::TimedOut),
        }))
    }

    /// Whether there is a volume of this name.
    pub async fn has_volume(&self, volume: &str) -> Result<bool, EngineError> {
        match within(QUICK, self.quick.inspect_volume(names::container(volume)?)).await {
            Ok(_) => Ok(true),
            Err(EngineError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sees to the volume that has the worker's program; says whether that was missing. `image` is on
    /// this machine; a container of it that never runs carries the program there.
    pub async fn fill_program_volume(
        &self,
        volume: &str,
        image: &str,
        program: &Bytes,
    ) -> Result<bool, EngineError> {
        let request = VolumeCreateRequest {
            name: Some(names::container(volume)?.to_owned()),
            labels: Some(own_labels(&self.cluster, "program")),
            ..Default::default()
        };
        {
            let _turn = self.making.turn().await?;
            within(QUICK, self.quick.create_volume(request)).await?;
        }
        let name = format!("{}-carrier", self.cluster);
        let body = carrier(&self.cluster, image, volume);
        let carrier = match self.create(&name, body.clone()).await {
            Err(EngineError::NameTaken { .. }) => {
                let former = self.inspect_by_name(&name).await?;
                self.remove_forced(&former.id).await?;
                self.create(&name, body).await?
            }
            created => created?,
        };
        let filled = self.fill(&carrier, program).await;
        self.remove_forced(&carrier).await?;
        filled
    }

    async fn fill(&self, carrier: &ContainerId, program: &Bytes) -> Result<bool, EngineError> {
        let id = names::container(carrier.as_str())?;
        let ask = ContainerArchiveInfoOptionsBuilder::default().path(PROGRAM).build();
        let found = within(QUICK, self.quick.get_container_archive_info(id, Some(ask))).await;
        // The volume is named by the program: the same name and size are the same program.
        if found.is_ok_and(|found| usize::try_from(found.size).is_ok_and(|size| size == program.len())) {
            return Ok(false);
        }
        let to = UploadToContainerOptionsBuilder::default().path(PROGRAM_FOLDER).build();
        let archive = archive_of(program).map_err(EngineError::unreadable)?;
        let archive = bollard::body_full(archive);
        within(PATIENT, self.patient.upload_to_container(id, Some(to), archive)).await.map(|()| true)
    }

    /// Removes every volume that has a worker's program for this cluster.
    pub async fn remove_program_volumes(&self) -> Result<(), EngineError> {
        let labels = vec![format!("{CLUSTER}={}", self.cluster), format!("{ROLE}=program")];
        let options =
            ListVolumesOptionsBuilder::default().filters(&HashMap::from([("label", labels)])).build();
        let found = within(QUICK, self.quick.list_volumes(Some(options))).await?;
        for volume in found.volumes.unwrap_or_default() {
            let options = RemoveVolumeOptionsBuilder::default().build();
            let name = names::container(&volume.name)?;
            within(PATIENT, self.patient.remove_volume(name, Some(options))).await?;
        }
        Ok(())
    }

    /// The network of the workers that are to reach the orchestrators and nobody else.
    #[must_use]
    pub fn inside_network(&self) -> String {
        inside_network(&self.cluster)
    }

    /// Makes that network where it is missing.
    pub async fn make_inside_network(&self) -> Result<(), EngineError> {
        let name = self.inside_network();
        let known = self.quick.inspect_network(names::container(&name)?, None::<InspectNetworkOptions>);
        match within(QUICK, known).await {
            Err(EngineError::NotFound { .. } | EngineError::NetworkMissing { .. }) => {}
            known => return known.map(drop),
        }
        let request = NetworkCreateRequest {
            name,
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            labels: Some(own_labels(&self.cluster, "inside")),
            ..Default::default()
        };
        let _turn = self.making.turn().await?;
        within(PATIENT, self.patient.create_network(request)).await.map(drop)
    }

    /// Puts an orchestrator's container on that network, under the name that workers are told.
    pub async fn join_inside_network(
        &self,
        container: &ContainerId,
        alias: Option<&str>,
    ) -> Result<(), EngineError> {
        let endpoint =
            EndpointSettings { aliases: alias.map(|alias| vec![alias.to_owned()]), ..Default::default() };
        let request =
            NetworkConnectRequest { container: container.to_string(), endpoint_config: Some(endpoint) };
        let name = self.inside_network();
        let _turn = self.making.turn().await?;
        let connect = self.patient.connect_network(names::container(&name)?, request);
        match within(PATIENT, connect).await {
            Err(EngineError::Refused { message, .. }) if message.contains("already exists in network") => {
                Ok(())
            }
            joined => joined,
        }
    }

    /// Takes these containers off that network and removes it, where there is one.
    pub async fn remove_inside_network(&self, on_it: &[ContainerId]) -> Result<(), EngineError> {
        let name = self.inside_network();
        let name = names::container(&name)?;
        for container in on_it {
            let request = NetworkDisconnectRequest { container: container.to_string(), force: Some(true) };
            // Those that are not on it have nothing to leave.
            drop(within(PATIENT, self.patient.disconnect_network(name, request)).await);
        }
        match within(PATIENT, self.patient.remove_network(name)).await {
            Err(EngineError::NotFound { .. } | EngineError::NetworkMissing { .. }) => Ok(()),
            removed => removed,
        }
    }
}

fn own_labels(cluster: &str, role: &str) -> HashMap<String, String> {
    HashMap::from([(CLUSTER.to_owned(), cluster.to_owned()), (ROLE.to_owned(), role.to_owned())])
}

/// What the engine says while it pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Which part of the image.
    pub id: Option<String>,
    /// What it does with it.
    pub status: String,
}

pub(crate) fn inside_network(cluster: &str) -> String {
    format!("{cluster}-inside")
}

/// Whether a text can be the name of an image; others would ask for something else than an image.
#[must_use]
pub fn is_image_name(name: &str) -> bool {
    names::image(name).is_ok()
}

pub(crate) fn program_mount(cluster: &str, volume: &str, read_only: bool) -> Mount {
    // The engine makes a volume that is missing, and makes it empty: that one must be known as ours too.
    let options = MountVolumeOptions {
        no_copy: Some(true),
        labels: Some(own_labels(cluster, "program")),
        ..Default::default()
    };
    Mount {
        volume_options: Some(options),
        target: Some(PROGRAM_FOLDER.to_owned()),
        source: Some(volume.to_owned()),
        typ: Some(MountType::VOLUME),
        read_only: Some(read_only),
        ..Default::default()
    }
}

fn carrier(cluster: &str, image: &str, volume: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        labels: Some(own_labels(cluster, "carrier")),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![program_mount(cluster, volume, false)]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A tar archive that holds the program and nothing else.
fn archive_of(program: &Bytes) -> io::Result<Bytes> {
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o555);
    let mut archive = tar::Builder::new(Vec::with_capacity(program.len() + SMALL_ARCHIVE_BYTES));
    archive.append_data(&mut header, PROGRAM_NAME, &program[..])?;
    Ok(archive.into_inner()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_one_that_tar_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        std::fs::write(&file, archive_of(&Bytes::from_static(b"#!program")).unwrap()).unwrap();
        let tar = |arguments: &[&str]| {
            let done = std::process::Command::new("tar").args(arguments).arg(&file).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        assert!(tar(&["-tvf"]).starts_with("-r-xr-xr-x 0/0"));
        assert_eq!(tar(&["-xOf"]), "#!program");
    }

    #[test]
    fn the_carrier_is_on_no_network() {
        let body = carrier("clb", "scratch-like", "v");
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.mounts.unwrap()[0].read_only, Some(false));
    }
}
