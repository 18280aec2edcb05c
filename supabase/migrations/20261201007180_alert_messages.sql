-- Opens and ends an alert and notes each change of state.
-- Locks: none; it only creates.

create function observability_internal.describe_alert(alert observability_internal.alerts) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'alert_id', alert.alert_id, 'rule_id', alert.rule_id, 'rule_name', alert.rule_name, 'metric', alert.metric,
    'scope', alert.scope, 'group_by', alert.group_by, 'group_key', alert.group_key, 'comparator', alert.comparator,
    'state', alert.state, 'severity', alert.severity, 'value', trim_scale(alert.value)::text,
    'threshold', alert.threshold::text, 'sample_count', alert.sample_count, 'window_start', alert.window_start,
    'window_end', alert.window_end, 'evidence', alert.evidence, 'pending_since', alert.pending_since,
    'started_at', alert.started_at, 'resolved_at', alert.resolved_at,
    'resolution', alert.resolution, 'resolved_value', trim_scale(alert.resolved_value)::text,
    'resolved_sample_count', alert.resolved_sample_count, 'acknowledged_at', alert.acknowledged_at,
    'acknowledged_by', alert.acknowledged_by, 'acknowledge_note', alert.acknowledge_note,
    'notified_at', alert.notified_at, 'latest_value', trim_scale(alert.latest_value)::text,
    'is_late', alert.is_late, 'breached_until', alert.breached_until
  ) || coalesce(
    (
      select jsonb_build_object('no_data_since', s.no_data_since, 'recovering_since', s.cleared_since)
      from observability_internal.alert_states as s
      where s.alert_id = alert.alert_id
    ), '{}'
  );
$$;

comment on function observability_internal.describe_alert is 'An alert as the app and the messages show it; decimals as text.';
revoke execute on function observability_internal.describe_alert from public;
grant execute on function observability_internal.describe_alert to authenticated, service_role;

create function observability_internal.alert_level(rule observability_internal.alert_rules, value numeric)
returns table (level integer, threshold numeric, severity text)
language sql
immutable
security invoker
set search_path = ''
as $$
  select l.level, l.threshold, l.severity
  from (
    select 1 as level, rule.threshold as threshold, rule.severity as severity where rule.steps is null
    union all
    select 2, rule.critical_threshold, 'critical' where rule.steps is null and rule.critical_threshold is not null
    union all
    select s.position::integer, s.step, case when s.step < 1 then 'warning' else 'critical' end
    from unnest(rule.steps) with ordinality as s (step, position)
  ) as l
  where case
    when rule.comparator = 'below' then alert_level.value < l.threshold
    -- A budget's step is met where it is reached.
    when rule.steps is not null then alert_level.value >= l.threshold
    else alert_level.value > l.threshold
  end
  order by l.level desc
  limit 1;
$$;

comment on function observability_internal.alert_level is 'The highest threshold that a value is beyond; no row where it is beyond none.';
revoke execute on function observability_internal.alert_level from public;
grant execute on function observability_internal.alert_level to authenticated, service_role;

create function observability_internal.figure_level(
  rule observability_internal.alert_rules, figure observability_internal.alert_figure
) returns table (level integer, threshold numeric, severity text)
language sql
immutable
security invoker
set search_path = ''
as $$
  -- A forecast fires by what is certain enough of it, not by its middle; with conditions, all of them must hold.
  select l.level, l.threshold, l.severity
  from observability_internal.alert_level(rule, coalesce(((figure).evidence ->> 'certain')::numeric, (figure).value)) as l
  where coalesce(((figure).evidence ->> 'is_met')::boolean, true);
$$;

comment on function observability_internal.figure_level is 'The highest threshold that a figure breaches; no row where it breaches none.';
revoke execute on function observability_internal.figure_level from public;
grant execute on function observability_internal.figure_level to authenticated, service_role;

create function observability_internal.is_silenced(rule_id bigint, group_key text, as_of timestamptz) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select from observability_internal.alert_silences as s
    where s.rule_id = is_silenced.rule_id and (s.group_key is null or s.group_key = is_silenced.group_key)
      and s.created_at <= is_silenced.as_of and s.ends_at > is_silenced.as_of
  );
$$;

comment on function observability_internal.is_silenced is 'Whether a rule or this group of it is silenced at a moment.';
revoke execute on function observability_internal.is_silenced from public;
grant execute on function observability_internal.is_silenced to authenticated, service_role;

create function observability_internal.resolve_alert(
  alert_id bigint, resolution text, value numeric, sample_count bigint, as_of timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert observability_internal.alerts;
begin
  update observability_internal.alerts as a
  set
    state = 'resolved', resolved_at = resolve_alert.as_of, resolution = resolve_alert.resolution,
    resolved_value = resolve_alert.value, resolved_sample_count = resolve_alert.sample_count
  where a.alert_id = resolve_alert.alert_id
  returning a.* into strict v_alert;
  insert into observability_internal.alert_transitions (
    rule_id, rule_name, alert_id, group_key, occurred_at, from_state, to_state, value, threshold, severity, sample_count, note
  )
  values (
    v_alert.rule_id, v_alert.rule_name, v_alert.alert_id, v_alert.group_key, resolve_alert.as_of, 'firing', 'resolved',
    resolve_alert.value, v_alert.threshold, v_alert.severity, resolve_alert.sample_count, resolve_alert.resolution
  );
end;
$$;

comment on function observability_internal.resolve_alert is 'Ends an alert with its reason and figures; tell_ends tells its channels.';
revoke execute on function observability_internal.resolve_alert from public;
grant execute on function observability_internal.resolve_alert to service_role;

create function observability_internal.note_transition(
  rule observability_internal.alert_rules, figure observability_internal.alert_figure, from_state text, to_state text,
  level_threshold numeric, severity text, alert_id bigint, as_of timestamptz, note text default null
) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.alert_transitions (
    rule_id, rule_name, alert_id, group_key, occurred_at, from_state, to_state, value, threshold, severity,
    sample_count, window_start, window_end, evidence, note
  )
  values (
    rule.rule_id, rule.name, alert_id, figure.group_key, as_of, from_state, to_state, figure.value, level_threshold,
    note_transition.severity, figure.sample_count, figure.window_start, figure.window_end, coalesce(figure.evidence, '{}'),
    note_transition.note
  );
$$;

comment on function observability_internal.note_transition is 'Writes a change of state with its evidence.';
revoke execute on function observability_internal.note_transition from public;
grant execute on function observability_internal.note_transition to service_role;

create function observability_internal.fire_alert(
  rule observability_internal.alert_rules, figure observability_internal.alert_figure, level integer, level_threshold numeric,
  severity text, pending_since timestamptz, as_of timestamptz, breached_until timestamptz default null
) returns bigint
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.alerts as a (
    rule_id, rule_name, group_by, group_key, metric, scope, comparator, level, severity, threshold, value, sample_count,
    latest_value, window_start, window_end, evidence, pending_since, started_at, is_late, breached_until
  )
  values (
    rule.rule_id, rule.name, rule.group_by, figure.group_key, rule.metric, rule.scope, rule.comparator,
    fire_alert.level, fire_alert.severity, level_threshold, figure.value, figure.sample_count, figure.value, figure.window_start,
    figure.window_end, coalesce(figure.evidence, '{}'), fire_alert.pending_since, as_of, fire_alert.breached_until is not null,
    fire_alert.breached_until
  )
  returning a.alert_id;
$$;

comment on function observability_internal.fire_alert is 'Writes an alert with the figure that caused it; with the end of its breach one that is told late.';
revoke execute on function observability_internal.fire_alert from public;
grant execute on function observability_internal.fire_alert to service_role;

-- Security definer: ops who disable, change or delete a rule may not write alerts and messages themselves.
create function observability_internal.close_alerts_of_rule() returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_state observability_internal.alert_states;
begin
  for v_state in
    update observability_internal.alert_states as s
    set state = case s.state when 'firing' then 'resolved' when 'pending' then 'ok' else s.state end,
      pending_since = null, alert_id = null, cleared_since = null, no_data_since = null, judged_since = null, judged_until = null
    from observability_internal.alert_states as before
    where s.rule_id = old.rule_id and before.rule_id = s.rule_id and before.group_key = s.group_key
    returning before.*
  loop
    if v_state.alert_id is not null then
      perform observability_internal.resolve_alert(
        v_state.alert_id,
        case
          when tg_op = 'DELETE' then 'rule_deleted' when new.is_enabled then 'rule_changed' else 'rule_disabled'
        end,
        null, null, now()
      );
    end if;
  end loop;
  perform observability_internal.tell_ends(old.rule_id, now());
  if tg_op = 'DELETE' then
    return old;
  end if;
  delete from observability_internal.alert_states as s where s.rule_id = old.rule_id and s.group_key <> '';
  return new;
end;
$$;

comment on function observability_internal.close_alerts_of_rule is 'Ends what a rule has firing when it is disabled or deleted.';
revoke execute on function observability_internal.close_alerts_of_rule from public;

create trigger close_alerts_of_deleted_rule before delete on observability_internal.alert_rules
for each row execute function observability_internal.close_alerts_of_rule();

create trigger close_alerts_of_disabled_rule before update of is_enabled on observability_internal.alert_rules
for each row when (old.is_enabled and not new.is_enabled)
execute function observability_internal.close_alerts_of_rule();

-- A state is valid for one metric and scope only: changing either resets it.
create trigger close_alerts_of_changed_rule
before update of metric, scope, group_by, window_s, period, timezone, comparator, steps, budget_id, conditions, objective, objective_ms
on observability_internal.alert_rules
for each row when (
  old.is_enabled and new.is_enabled
  and (
    old.metric, old.scope, old.group_by, old.window_s, old.period, old.timezone, old.comparator, old.steps, old.budget_id,
    old.conditions, old.objective, old.objective_ms
  ) is distinct from (
    new.metric, new.scope, new.group_by, new.window_s, new.period, new.timezone, new.comparator, new.steps, new.budget_id,
    new.conditions, new.objective, new.objective_ms
  )
)
execute function observability_internal.close_alerts_of_rule();
