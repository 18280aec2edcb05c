-- Purpose: move every rule and group through ok, pending, firing, resolved, with messages written in the same transaction.
-- Locks: as 20261123201100: one advisory transaction lock, row locks on states and alerts.

drop function observability_internal.evaluate_alert_rule(bigint, timestamptz);

drop function observability_internal.measure_alert_metric(text, jsonb, integer, timestamptz);

create or replace function observability_internal.describe_alert(alert observability.alerts) returns jsonb
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
    'notified_at', alert.notified_at
  );
$$;

create function observability_internal.alert_level(rule observability.alert_rules, value numeric)
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

comment on function observability_internal.alert_level(observability.alert_rules, numeric) is 'The highest threshold that a value is beyond; no row where it is beyond none.';

create function observability_internal.is_silenced(rule_id bigint, group_key text, as_of timestamptz) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select from observability.alert_silences as s
    where s.rule_id = is_silenced.rule_id and (s.group_key is null or s.group_key = is_silenced.group_key)
      and s.created_at <= is_silenced.as_of and s.ends_at > is_silenced.as_of
  );
$$;

comment on function observability_internal.is_silenced(bigint, text, timestamptz) is 'Whether a rule or this group of it is silenced at a moment.';

create or replace function observability_internal.enqueue_notifications(alert_id bigint, event text, as_of timestamptz)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert observability.alerts;
  v_count integer;
begin
  update observability.alerts as a
  set
    message_count = a.message_count + 1,
    notified_at = case when enqueue_notifications.event = 'resolved' then a.notified_at else enqueue_notifications.as_of end,
    notified_level = case when enqueue_notifications.event = 'resolved' then a.notified_level else a.level end
  where a.alert_id = enqueue_notifications.alert_id
  returning a.* into strict v_alert;
  -- The end of an alert goes to whoever heard of its beginning, whatever the rule's channels are by now. A reminder is
  -- left out where an earlier message has not got through yet.
  insert into observability_internal.notifications
  (alert_id, channel_id, channel_name, event, sequence, payload, next_attempt_at, created_at)
  select
    v_alert.alert_id, c.channel_id, c.name, enqueue_notifications.event, v_alert.message_count,
    jsonb_build_object(
      'schema', 'treering.alert/1', 'event', enqueue_notifications.event, 'occurred_at', enqueue_notifications.as_of,
      'alert', observability_internal.describe_alert(v_alert)
    ),
    enqueue_notifications.as_of, enqueue_notifications.as_of
  from observability.notification_channels as c
  where c.is_enabled
    and case enqueue_notifications.event
      when 'resolved' then exists (
        select from observability_internal.notifications as n
        where n.alert_id = v_alert.alert_id and n.channel_id = c.channel_id
      )
      else exists (
        select from observability.alert_rule_channels as rc
        where rc.rule_id = v_alert.rule_id and rc.channel_id = c.channel_id
      )
    end
    and (enqueue_notifications.event <> 'reminder' or not exists (
      select from observability_internal.notifications as n
      where n.alert_id = v_alert.alert_id and n.channel_id = c.channel_id and n.state = 'pending'
    ));
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

create or replace function observability_internal.resolve_alert(
  alert_id bigint, resolution text, value numeric, sample_count bigint, as_of timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert observability.alerts;
begin
  update observability.alerts as a
  set
    state = 'resolved', resolved_at = resolve_alert.as_of, resolution = resolve_alert.resolution,
    resolved_value = resolve_alert.value, resolved_sample_count = resolve_alert.sample_count
  where a.alert_id = resolve_alert.alert_id
  returning a.* into strict v_alert;
  insert into observability.alert_transitions (
    rule_id, rule_name, alert_id, group_key, occurred_at, from_state, to_state, value, threshold, severity, sample_count, note
  )
  values (
    v_alert.rule_id, v_alert.rule_name, v_alert.alert_id, v_alert.group_key, resolve_alert.as_of, 'firing', 'resolved',
    resolve_alert.value, v_alert.threshold, v_alert.severity, resolve_alert.sample_count, resolve_alert.resolution
  );
  perform observability_internal.enqueue_notifications(resolve_alert.alert_id, 'resolved', resolve_alert.as_of);
end;
$$;

create function observability_internal.note_transition(
  rule observability.alert_rules, figure observability_internal.alert_figure, from_state text, to_state text,
  level_threshold numeric, severity text, alert_id bigint, as_of timestamptz
) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability.alert_transitions (
    rule_id, rule_name, alert_id, group_key, occurred_at, from_state, to_state, value, threshold, severity,
    sample_count, window_start, window_end, evidence
  )
  values (
    rule.rule_id, rule.name, alert_id, figure.group_key, as_of, from_state, to_state, figure.value, level_threshold,
    note_transition.severity, figure.sample_count, figure.window_start, figure.window_end, coalesce(figure.evidence, '{}')
  );
$$;

comment on function observability_internal.note_transition(observability.alert_rules, observability_internal.alert_figure, text, text, numeric, text, bigint, timestamptz) is 'Writes a change of state with its evidence.';

create function observability_internal.fire_alert(
  rule observability.alert_rules, figure observability_internal.alert_figure, level integer, level_threshold numeric,
  severity text, pending_since timestamptz, as_of timestamptz
) returns bigint
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability.alerts as a (
    rule_id, rule_name, group_by, group_key, metric, scope, comparator, level, severity, threshold, value, sample_count,
    window_start, window_end, evidence, pending_since, started_at
  )
  values (
    rule.rule_id, rule.name, rule.group_by, figure.group_key, rule.metric, rule.scope, rule.comparator,
    fire_alert.level, fire_alert.severity, level_threshold, figure.value, figure.sample_count, figure.window_start,
    figure.window_end, coalesce(figure.evidence, '{}'), fire_alert.pending_since, as_of
  )
  returning a.alert_id;
$$;

comment on function observability_internal.fire_alert(observability.alert_rules, observability_internal.alert_figure, integer, numeric, text, timestamptz, timestamptz) is 'Writes an alert with the figure that caused it.';

create function observability_internal.tell_alert(rule observability.alert_rules, alert_id bigint, as_of timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert observability.alerts;
  v_event text;
begin
  select * into strict v_alert from observability.alerts as a where a.alert_id = tell_alert.alert_id;
  v_event := case
    when v_alert.notified_level is null then 'firing'
    when v_alert.level > v_alert.notified_level then 'escalated'
    when v_alert.acknowledged_at is null
      and as_of - v_alert.notified_at >= make_interval(secs => rule.renotify_s) then 'reminder'
  end;
  if v_event is not null and not observability_internal.is_silenced(rule.rule_id, v_alert.group_key, as_of) then
    perform observability_internal.enqueue_notifications(v_alert.alert_id, v_event, as_of);
  end if;
end;
$$;

comment on function observability_internal.tell_alert(observability.alert_rules, bigint, timestamptz) is 'Writes the message that a firing alert owes: its beginning, a higher level, a reminder; none while it is silenced.';

create function observability_internal.move_alert_state(
  rule observability.alert_rules, state observability_internal.alert_states, figure observability_internal.alert_figure,
  as_of timestamptz
) returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_has_data constant boolean := figure.value is not null and (figure.sample_count > 0 or rule.comparator = 'below');
  v_is_firing constant boolean := state.state = 'firing';
  v_level record;
  v_is_breach boolean;
  v_pending_since timestamptz;
  v_alert_id bigint := state.alert_id;
  v_next text;
begin
  select l.* into v_level from observability_internal.alert_level(rule, figure.value) as l;
  if not v_has_data and rule.no_data = 'keep' then
    v_is_breach := state.state in ('pending', 'firing');
  elsif not v_has_data then
    v_is_breach := rule.no_data = 'firing';
  elsif v_is_firing then
    -- Once firing, a thinning sample does not end it, and the value must come back past the resolve threshold.
    v_is_breach := v_level.level is not null or case rule.comparator
      when 'above' then figure.value > rule.resolve_threshold
      else figure.value < rule.resolve_threshold
    end;
  else
    v_is_breach := v_level.level is not null and figure.sample_count >= observability_internal.needed_sample(rule);
  end if;
  v_is_breach := coalesce(v_is_breach, false);
  v_pending_since := case when v_is_breach then coalesce(state.pending_since, as_of) end;
  if v_is_firing and not v_is_breach then
    perform observability_internal.resolve_alert(
      v_alert_id, case when figure.value is null then 'no_data' else 'recovered' end, figure.value, figure.sample_count, as_of
    );
    v_alert_id := null;
    v_next := 'resolved';
  elsif v_is_firing then
    v_next := 'firing';
    if v_has_data and v_level.level is not null then
      update observability.alerts as a
      set
        level = v_level.level, severity = v_level.severity, threshold = v_level.threshold, value = figure.value,
        sample_count = figure.sample_count, window_start = figure.window_start, window_end = figure.window_end,
        evidence = coalesce(figure.evidence, '{}')
      where a.alert_id = v_alert_id and a.level < v_level.level;
      if found then
        perform observability_internal.note_transition(
          rule, figure, 'firing', 'firing', v_level.threshold, v_level.severity, v_alert_id, as_of
        );
      end if;
    end if;
  elsif v_is_breach and as_of - v_pending_since >= make_interval(secs => rule.for_s) then
    v_next := 'firing';
    v_alert_id := observability_internal.fire_alert(
      rule, figure, coalesce(v_level.level, 1), coalesce(v_level.threshold, rule.threshold),
      coalesce(v_level.severity, rule.severity), v_pending_since, as_of
    );
    perform observability_internal.note_transition(
      rule, figure, state.state, 'firing', coalesce(v_level.threshold, rule.threshold),
      coalesce(v_level.severity, rule.severity), v_alert_id, as_of
    );
  elsif v_is_breach then
    v_next := 'pending';
  else
    v_next := case when state.state = 'resolved' then 'resolved' else 'ok' end;
  end if;
  if v_next = 'firing' then
    perform observability_internal.tell_alert(rule, v_alert_id, as_of);
  elsif v_next is distinct from state.state and not v_is_firing then
    perform observability_internal.note_transition(
      rule, figure, state.state, v_next, coalesce(v_level.threshold, rule.threshold),
      coalesce(v_level.severity, rule.severity), null, as_of
    );
  end if;
  -- Groups at rest need no row.
  if v_next in ('ok', 'resolved') and state.group_key <> '' then
    delete from observability_internal.alert_states as s where s.rule_id = state.rule_id and s.group_key = state.group_key;
  else
    insert into observability_internal.alert_states as s (
      rule_id, group_key, state, pending_since, alert_id, value, sample_count, evaluated_at
    )
    values (
      state.rule_id, state.group_key, v_next, v_pending_since, v_alert_id, figure.value, figure.sample_count, as_of
    )
    on conflict (rule_id, group_key) do update
    set
      state = excluded.state, pending_since = excluded.pending_since, alert_id = excluded.alert_id,
      value = excluded.value, sample_count = excluded.sample_count, evaluated_at = excluded.evaluated_at,
      last_error = null, last_error_at = null;
  end if;
  return case
    when v_is_firing and v_next = 'firing' then 'firing'
    when v_next = 'firing' then 'fired'
    when v_is_firing then 'resolved'
    when v_next = 'pending' then 'pending'
    else 'ok'
  end;
end;
$$;

comment on function observability_internal.move_alert_state(observability.alert_rules, observability_internal.alert_states, observability_internal.alert_figure, timestamptz) is 'Moves one group of a rule and writes what follows; returns ok, pending, fired, firing or resolved.';

create function observability_internal.evaluate_alert_rule(rule_id bigint, as_of timestamptz) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule observability.alert_rules;
  v_candidate record;
  v_counts jsonb := '{}'::jsonb;
  v_outcome text;
  v_over_limit integer := 0;
begin
  -- A share lock: the rule is neither disabled nor deleted between this reading and the transition.
  select * into v_rule
  from observability.alert_rules as r
  where r.rule_id = evaluate_alert_rule.rule_id and r.is_enabled
  for share;
  if not found then
    return '{}'::jsonb;
  end if;
  insert into observability_internal.alert_states (rule_id) values (v_rule.rule_id) on conflict do nothing;
  perform from observability_internal.alert_states as s where s.rule_id = v_rule.rule_id order by s.group_key for update;

  -- A breach in either window counts, with the newest figure. What fires or waits is always looked at, groups at rest
  -- only where they breach, the worst first.
  for v_candidate in
    with known as (
      select s as state_row, s.rule_id, s.group_key, s.state
      from observability_internal.alert_states as s
      where s.rule_id = v_rule.rule_id and ((v_rule.group_by is null) = (s.group_key = '') or s.state in ('pending', 'firing'))
    ),
    figures as (
      select f.*, l.level, coalesce(k.state in ('pending', 'firing'), false) as is_active
      from observability_internal.measure_alert(v_rule, as_of) as f
      left join lateral observability_internal.alert_level(v_rule, f.value) as l on true
      left join known as k on f.group_key = k.group_key
    ),
    best as (
      select distinct on (f.group_key) f.*
      from figures as f
      order by
        f.group_key,
        f.level is not null and (f.is_active or f.sample_count >= observability_internal.needed_sample(v_rule)) desc, f.level desc nulls last,
        f.sample_count > 0 desc, f.window_start desc
    )
    select
      row(
        coalesce(b.group_key, k.group_key), b.window_start, b.window_end, b.value, coalesce(b.sample_count, 0),
        coalesce(b.evidence, '{}')
      )::observability_internal.alert_figure as figure,
      k.state_row as state, k.rule_id is null as is_new,
      row_number() over (
        order by
          k.rule_id is not null desc, b.level desc,
          case when v_rule.comparator = 'above' then b.value else -b.value end desc, b.group_key
      ) as place
    from best as b
    full join known as k on b.group_key = k.group_key
    where k.rule_id is not null or b.level is not null and b.sample_count >= observability_internal.needed_sample(v_rule)
    order by place
  loop
    if v_rule.group_by is not null and v_candidate.is_new and v_candidate.place > v_rule.group_limit then
      v_over_limit := v_over_limit + 1;
      continue;
    end if;
    if v_candidate.is_new then
      v_candidate.state := row(
        v_rule.rule_id, (v_candidate.figure).group_key, 'ok', null, null, null, null, null, null, null, 0
      )::observability_internal.alert_states;
    end if;
    v_outcome := observability_internal.move_alert_state(v_rule, v_candidate.state, v_candidate.figure, as_of);
    v_counts := v_counts || jsonb_build_object(v_outcome, coalesce((v_counts ->> v_outcome)::integer, 0) + 1);
  end loop;
  if v_rule.group_by is not null then
    update observability_internal.alert_states as s
    set evaluated_at = as_of, groups_over_limit = v_over_limit, last_error = null, last_error_at = null
    where s.rule_id = v_rule.rule_id and s.group_key = '';
  end if;
  return case when v_counts = '{}' then '{"ok": 1}' else v_counts end;
end;
$$;

comment on function observability_internal.evaluate_alert_rule(bigint, timestamptz) is 'Moves every group of a rule; how many came to which end, {} where the rule was disabled or deleted.';

create or replace function observability.evaluate_alerts(as_of timestamptz default null) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set statement_timeout = '60s'
set jit = off
as $$
#variable_conflict use_column
declare
  v_as_of timestamptz;
  v_rule_id bigint;
  v_outcomes jsonb;
  v_counts jsonb := '{"ok": 0, "pending": 0, "fired": 0, "firing": 0, "resolved": 0, "failed": 0}'::jsonb;
begin
  -- The lock has a statement of its own: what follows sees all that the last holder committed.
  if not pg_try_advisory_xact_lock(hashtextextended('treering.evaluate_alerts', 0)) then
    return v_counts || jsonb_build_object('is_busy', true, 'as_of', evaluate_alerts.as_of);
  end if;
  v_as_of := coalesce(evaluate_alerts.as_of, clock_timestamp());
  for v_rule_id in
    select r.rule_id from observability.alert_rules as r where r.is_enabled order by r.rule_id
  loop
    begin
      v_outcomes := observability_internal.evaluate_alert_rule(v_rule_id, v_as_of);
    exception
      when others then
        v_outcomes := '{"failed": 1}'::jsonb;
        insert into observability_internal.alert_states as s (rule_id, last_error, last_error_at)
        select r.rule_id, left(sqlstate || ': ' || sqlerrm, 500), v_as_of
        from observability.alert_rules as r
        where r.rule_id = v_rule_id
        for key share
        on conflict (rule_id, group_key) do update
        set last_error = excluded.last_error, last_error_at = excluded.last_error_at;
    end;
    select v_counts || coalesce(jsonb_object_agg(o.key, (v_counts ->> o.key)::integer + o.value::integer), '{}')
    into v_counts
    from jsonb_each_text(v_outcomes) as o;
  end loop;
  return v_counts || jsonb_build_object('is_busy', false, 'as_of', v_as_of);
end;
$$;

-- Security definer: ops who disable, change or delete a rule may not write alerts and messages themselves.
create or replace function observability_internal.close_alerts_of_rule() returns trigger
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
      pending_since = null, alert_id = null
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
  if tg_op = 'DELETE' then
    return old;
  end if;
  delete from observability_internal.alert_states as s where s.rule_id = old.rule_id and s.group_key <> '';
  return new;
end;
$$;

-- What fires by one metric or scope says nothing of another: such a change begins anew.
create trigger close_alerts_of_changed_rule
before update of metric, scope, group_by, period, comparator, steps, budget_id on observability.alert_rules
for each row when (
  old.is_enabled and new.is_enabled
  and (old.metric, old.scope, old.group_by, old.period, old.comparator, old.steps, old.budget_id)
  is distinct from (new.metric, new.scope, new.group_by, new.period, new.comparator, new.steps, new.budget_id)
)
execute function observability_internal.close_alerts_of_rule();

create function observability.get_outside_rules() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(observability_internal.describe_rule(r) order by r.rule_id), '[]')
  from observability.alert_rules as r
  where r.is_enabled and r.metric in ('anomaly', 'budget_forecast');
$$;

comment on function observability.get_outside_rules() is 'The rules whose values the worker computes and writes by record_metric_values.';

create function observability.record_metric_values(
  rule_id bigint, figures jsonb, as_of timestamptz default null, valid_s integer default 3600
) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(record_metric_values.as_of, clock_timestamp());
  v_count integer;
begin
  if valid_s is null or valid_s not between 1 and 604800 or jsonb_typeof(figures) is distinct from 'array' then
    raise exception 'figures is a list and valid_s from 1 to 604800' using errcode = '22023';
  end if;
  delete from observability_internal.metric_values as v where v.rule_id = record_metric_values.rule_id;
  insert into observability_internal.metric_values (
    rule_id, group_key, evaluated_at, valid_until, window_start, window_end, value, sample_count, evidence
  )
  select
    record_metric_values.rule_id, coalesce(f.group_key, ''), v_now, v_now + make_interval(secs => valid_s),
    coalesce(f.window_start, v_now), coalesce(f.window_end, v_now), f.value, coalesce(f.sample_count, 1),
    coalesce(f.evidence, '{}')
  from jsonb_to_recordset(figures) as f (
    group_key text, window_start timestamptz, window_end timestamptz, value numeric, sample_count bigint, evidence jsonb
  );
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability.record_metric_values(bigint, jsonb, timestamptz, integer) is 'Replaces what a rule''s metric came to, [{group_key, window_start, window_end, value, sample_count, evidence}]; it holds for valid_s.';

grant execute on function observability_internal.alert_level(observability.alert_rules, numeric) to authenticated, service_role;

grant execute on function observability_internal.is_silenced(bigint, text, timestamptz) to authenticated, service_role;

grant execute on function observability_internal.note_transition(observability.alert_rules, observability_internal.alert_figure, text, text, numeric, text, bigint, timestamptz) to service_role;

grant execute on function observability_internal.fire_alert(observability.alert_rules, observability_internal.alert_figure, integer, numeric, text, timestamptz, timestamptz) to service_role;

grant execute on function observability_internal.tell_alert(observability.alert_rules, bigint, timestamptz) to service_role;

grant execute on function observability_internal.move_alert_state(observability.alert_rules, observability_internal.alert_states, observability_internal.alert_figure, timestamptz) to service_role;

grant execute on function observability_internal.evaluate_alert_rule(bigint, timestamptz) to service_role;

grant execute on function observability.get_outside_rules() to service_role;

grant execute on function observability.record_metric_values(bigint, jsonb, timestamptz, integer) to service_role;
