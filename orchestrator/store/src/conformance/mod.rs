//! What every implementation of the store must do.
//!
//! An implementation names in `conformance!` how to make an empty place and how to open a store
//! there; each function of the submodules becomes one test of it.

mod fixture;
pub(crate) mod leadership;
pub(crate) mod lifecycle;
pub(crate) mod pages;
pub(crate) mod pools;
pub(crate) mod waiting;

/// Makes the tests. `$place` makes an empty place, a function that opens a store there each time.
macro_rules! conformance {
    ($place:expr) => {
        $crate::conformance::conformance! { @tests $place;
            leadership {
                of_two_claimers_one_wins
                a_term_begins_with_the_next_epoch
                a_lower_epoch_changes_nothing
                renewing_shows_others_that_the_term_goes_on
                a_released_lease_takes_no_more_commits
                the_registry_survives_a_restart
            }
            lifecycle {
                a_restart_keeps_everything
                a_task_moves_from_queued_to_running_to_succeeded
                a_known_id_is_skipped_with_all_its_changes
                a_known_idempotency_key_is_skipped
                a_task_ends_only_once
                what_is_said_of_a_task_that_nobody_knows_is_let_go
                a_batch_is_stored_whole_or_not_at_all
                a_batch_that_was_stored_can_be_committed_again
                only_attempts_that_cost_are_spent
                an_attempt_taken_for_lost_goes_on
                a_verdict_on_record_stays
                a_cancelled_task_keeps_the_output_of_its_last_attempt_once
                what_is_stored_is_compared_with_what_is_submitted
                specs_come_by_id
            }
            pools {
                what_callers_made_of_pools_survives_a_restart
                what_was_ordered_for_a_slot_survives_a_restart_and_its_next_container
            }
            pages {
                lists_are_stable_under_inserts
                lists_can_be_filtered
                ids_come_page_by_page
                tasks_are_found_by_the_beginning_or_the_end_of_their_ids
                groups_come_in_the_order_of_their_names
                outcomes_come_in_order_and_by_group
                a_page_is_bounded_in_bytes_and_goes_on_where_it_was_cut
                obituaries_come_newest_first
                only_the_newest_of_the_dead_are_remembered
                logs_can_be_read_both_ways
                logs_can_be_filtered
                a_backup_is_consistent_while_commits_go_on
                statistics_count_rows
            }
            waiting {
                a_time_and_rests_survive_a_restart
                a_rest_begins_with_the_end_of_an_attempt_that_costs
                a_task_is_replayed_once_and_a_replay_again
                a_replay_stands_for_its_original
                a_replay_is_made_of_what_its_original_was
            }
        }
    };
    (@tests $place:expr; $($module:ident { $($name:ident)* })*) => {$(
        mod $module {
            use super::*;
            $(
                #[test]
                fn $name() {
                    let place = $place;
                    $crate::conformance::$module::$name(&place);
                }
            )*
        }
    )*};
}
pub(crate) use conformance;
