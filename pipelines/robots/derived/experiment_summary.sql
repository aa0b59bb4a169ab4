-- How did each run that was created from $1 up to $2 go: which steps, how much liquid, how long, what went wrong first?
WITH steps AS (
    SELECT
        experiment_id,
        experiment_created_at,
        count(*) AS steps,
        count(*) FILTER (WHERE status = 'succeeded') AS steps_succeeded,
        count(*) FILTER (WHERE status = 'failed') AS steps_failed,
        count(*) FILTER (WHERE status = 'running') AS steps_running,
        count(*) FILTER (WHERE status = 'queued') AS steps_queued,
        count(*) FILTER (WHERE status NOT IN ('succeeded', 'failed', 'running', 'queued')) AS steps_other,
        sum(duration_s ORDER BY step_index, step_id) AS step_duration_s,
        count(duration_fault) AS steps_duration_fault,
        CASE WHEN count(volume_ul) FILTER (WHERE status = 'succeeded'
            AND command_type IN ('aspirate', 'aspirateInPlace', 'aspirateWhileTracking'))
            = count(total_volume_ul) FILTER (WHERE status = 'succeeded'
            AND command_type IN ('aspirate', 'aspirateInPlace', 'aspirateWhileTracking'))
        THEN coalesce(sum(total_volume_ul ORDER BY step_index, step_id) FILTER (WHERE status = 'succeeded'
            AND command_type IN ('aspirate', 'aspirateInPlace', 'aspirateWhileTracking')), 0)
        END AS aspirated_ul,
        CASE WHEN count(volume_ul) FILTER (WHERE status = 'succeeded'
            AND command_type IN ('dispense', 'dispenseInPlace', 'dispenseWhileTracking'))
            = count(total_volume_ul) FILTER (WHERE status = 'succeeded'
            AND command_type IN ('dispense', 'dispenseInPlace', 'dispenseWhileTracking'))
        THEN coalesce(sum(total_volume_ul ORDER BY step_index, step_id) FILTER (WHERE status = 'succeeded'
            AND command_type IN ('dispense', 'dispenseInPlace', 'dispenseWhileTracking')), 0)
        END AS dispensed_ul
    FROM experiment_steps
    WHERE experiment_created_at >= $1 AND experiment_created_at < $2
    GROUP BY experiment_id, experiment_created_at
), first_failed AS (
    SELECT DISTINCT ON (experiment_id, experiment_created_at)
        experiment_id, experiment_created_at, step_index, error_type, error_code, error_message
    FROM experiment_steps
    WHERE experiment_created_at >= $1 AND experiment_created_at < $2 AND status = 'failed'
    ORDER BY experiment_id, experiment_created_at, step_index, step_id
)
SELECT
    e.experiment_id,
    e.created_at,
    e.robot,
    e.protocol_name,
    e.status,
    e.ok,
    e.started_at,
    e.completed_at,
    e.duration_s,
    e.duration_fault,
    coalesce(s.steps, 0) AS steps,
    coalesce(s.steps_succeeded, 0) AS steps_succeeded,
    coalesce(s.steps_failed, 0) AS steps_failed,
    coalesce(s.steps_running, 0) AS steps_running,
    coalesce(s.steps_queued, 0) AS steps_queued,
    coalesce(s.steps_other, 0) AS steps_other,
    coalesce(s.step_duration_s, 0) AS step_duration_s,
    coalesce(s.steps_duration_fault, 0) AS steps_duration_fault,
    CASE WHEN s.experiment_id IS NULL THEN 0 ELSE s.aspirated_ul END AS aspirated_ul,
    CASE WHEN s.experiment_id IS NULL THEN 0 ELSE s.dispensed_ul END AS dispensed_ul,
    f.step_index AS first_error_step,
    CASE WHEN f.experiment_id IS NULL THEN e.error_type ELSE f.error_type END AS first_error_type,
    CASE WHEN f.experiment_id IS NULL THEN e.error_code ELSE f.error_code END AS first_error_code,
    CASE WHEN f.experiment_id IS NULL THEN e.error_message ELSE f.error_message END AS first_error_message
FROM experiments e
LEFT JOIN steps s ON s.experiment_id = e.experiment_id AND s.experiment_created_at = e.created_at
LEFT JOIN first_failed f ON f.experiment_id = e.experiment_id AND f.experiment_created_at = e.created_at
WHERE e.created_at >= $1 AND e.created_at < $2
