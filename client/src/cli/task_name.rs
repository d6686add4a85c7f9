//! How a person names a task: by its id, or by the beginning or the end of it.

use std::str::FromStr;

use clb_client::protocol::{TaskId, TaskIdPart};
use clb_client::{Client, TaskFilter};

use crate::failure::Failure;

/// So many are shown of those that a part could mean.
const SHOWN: u32 = 5;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum TaskName {
    Id(TaskId),
    Part(TaskIdPart),
}

impl FromStr for TaskName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = || text.parse().map(Self::Part);
        text.parse().map(Self::Id).or_else(|_| part()).map_err(|_| {
            format!(
                "{text:?} is not a task id (a UUIDv7), nor at least {} hexadecimal digits of its beginning or end",
                TaskIdPart::SHORTEST
            )
        })
    }
}

impl TaskName {
    /// The task that is meant.
    pub(super) async fn find(&self, client: &Client) -> Result<TaskId, Failure> {
        let part = match self {
            Self::Id(id) => return Ok(*id),
            Self::Part(part) => part,
        };
        let mut filter = TaskFilter { id: Some(part.clone()), limit: Some(SHOWN), ..TaskFilter::default() };
        let mut found: Vec<TaskId> = Vec::new();
        loop {
            let page = client.tasks(&filter).await?;
            found.extend(page.tasks.iter().map(|task| task.id));
            match page.next {
                Some(next) if found.len() < SHOWN as usize => filter.cursor = Some(next),
                _ => break,
            }
        }
        match found[..] {
            [] => Err(Failure::NotFound(format!("there is no task whose id begins or ends with {part}"))),
            [id] => Ok(id),
            _ => {
                let ids: Vec<String> = found.iter().map(|id| format!("  {id}")).collect();
                let several = format!("several task ids begin or end with {part}; give more digits:");
                Err(Failure::Usage(format!("{several}\n{}", ids.join("\n"))))
            }
        }
    }
}

/// All of them, before anything is done to one.
pub(super) async fn find_all(names: &[TaskName], client: &Client) -> Result<Vec<TaskId>, Failure> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        ids.push(name.find(client).await?);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_be_shortened_to_its_beginning_or_its_end() {
        let named = |text: &str| text.parse::<TaskName>();
        assert!(matches!(named("0197aaaa-0000-7000-8000-00000000beef"), Ok(TaskName::Id(_))));
        for part in ["0197", "00000000BEEF", "0197aaaa-0000", "0197aaaa-0000-4000-8000-00000000beef"] {
            assert!(matches!(named(part), Ok(TaskName::Part(_))), "{part}");
        }
        for bad in ["", "17", "----", "worker-1", "0197aaaa-0000-7000-8000-00000000beef0"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }
}
