-- Moves every rule and group through ok, pending, firing and resolved, and writes the messages in the same transaction.
-- Locks: none to apply, it only creates. At run time one advisory transaction lock; ROW SHARE on alert_rules, ROW
-- EXCLUSIVE on states, alerts and the outbox.

create function observability_internal.has_data(
  rule observability_internal.alert_rules, figure observability_internal.alert_figure
) returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
  -- Zero of what is counted is a figure, except where somebody wants to hear that there is nothing.
  select (figure).value is not null and ((figure).sample_count > 0 or (rule).comparator = 'below' or (rule).no_data <> 'firing');
$$;

comment on function observability_internal.has_data is 'Whether there was anything to measure.';
revoke execute on function observability_internal.has_data from public;
grant execute on function observability_internal.has_data to service_role;

create function observability_internal.is_breach(
  rule observability_internal.alert_rules, state observability_internal.alert_states, figure observability_internal.alert_figure,
  is_past_threshold boolean, as_of timestamptz
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(case
    when not observability_internal.has_data(rule, figure) then case (rule).no_data
      -- A group that never comes back is not kept for ever.
      when 'keep' then (state).state in ('pending', 'firing') and as_of - coalesce((state).no_data_since, as_of) < interval '7 days'
      else (rule).no_data = 'firing'
    end
    when ((figure).evidence ->> 'is_met') = 'false' then false
    -- Once firing, a thinning sample does not end it, and the value must come back past the resolve threshold.
    when (state).state = 'firing' then is_past_threshold or case (rule).comparator
      when 'above' then (figure).value > (rule).resolve_threshold
      else (figure).value < (rule).resolve_threshold
    end
    else is_past_threshold and (figure).sample_count >= observability_internal.needed_sample(rule)
  end, false);
$$;

comment on function observability_internal.is_breach is 'Whether a figure counts as a breach of its rule, given where the group stands.';
revoke execute on function observability_internal.is_breach from public;
grant execute on function observability_internal.is_breach to service_role;

create function observability_internal.is_cooling_down(
  rule observability_internal.alert_rules, group_key text, as_of timestamptz
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select rule.cooldown_s > 0 and exists (
    select from observability_internal.alerts as a
    where a.rule_id = rule.rule_id and a.group_key = is_cooling_down.group_key and a.resolution in ('recovered', 'no_data')
      -- What was told late had ended before; what ended after this moment says nothing about it.
      and coalesce(a.breached_until, a.resolved_at) > as_of - make_interval(secs => rule.cooldown_s)
      and coalesce(a.breached_until, a.resolved_at) <= as_of
  );
$$;

comment on function observability_internal.is_cooling_down is 'Whether the last alert of a group has ended so lately that it does not fire again yet.';
revoke execute on function observability_internal.is_cooling_down from public;
grant execute on function observability_internal.is_cooling_down to service_role;

-- The decision itself: no table is written here.
create function observability_internal.decide_alert(
  rule observability_internal.alert_rules, state observability_internal.alert_states, figure observability_internal.alert_figure,
  is_past_threshold boolean, as_of timestamptz
) returns observability_internal.alert_states
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_next observability_internal.alert_states := state;
  v_has_data constant boolean := observability_internal.has_data(rule, figure);
  v_is_breach constant boolean := observability_internal.is_breach(rule, state, figure, is_past_threshold, as_of);
begin
  v_next.value := figure.value;
  v_next.sample_count := figure.sample_count;
  v_next.evaluated_at := as_of;
  v_next.no_data_since := case when not v_has_data and state.state in ('pending', 'firing') then coalesce(state.no_data_since, as_of) end;
  if state.state = 'firing' then
    -- Nothing to measure neither proves that a breach is over nor that it has come back.
    v_next.cleared_since := case
      when not v_is_breach then coalesce(state.cleared_since, as_of) when not v_has_data then state.cleared_since
    end;
    if not v_is_breach and as_of - v_next.cleared_since >= make_interval(secs => rule.keep_firing_s) then
      v_next.state := 'resolved';
    end if;
  elsif not v_is_breach then
    v_next.state := case when state.state = 'resolved' then 'resolved' else 'ok' end;
  else
    v_next.pending_since := coalesce(state.pending_since, as_of);
    v_next.state := case
      when as_of - v_next.pending_since >= make_interval(secs => rule.for_s) and (v_has_data or rule.no_data = 'firing')
        and not observability_internal.is_cooling_down(rule, state.group_key, as_of) then 'firing'
      else 'pending'
    end;
  end if;
  if v_next.state in ('ok', 'resolved') then
    v_next.pending_since := null;
    v_next.cleared_since := null;
    v_next.no_data_since := null;
    v_next.alert_id := null;
  end if;
  return v_next;
end;
$$;

comment on function observability_internal.decide_alert is
'Where a group stands after this figure: for_s before it fires, keep_firing_s before it ends, no second alert within cooldown_s.';
revoke execute on function observability_internal.decide_alert from public;
grant execute on function observability_internal.decide_alert to service_role;

create function observability_internal.keep_alert_state(next observability_internal.alert_states) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  -- Groups at rest need no row.
  if next.state in ('ok', 'resolved') and next.group_key <> '' then
    delete from observability_internal.alert_states as s where s.rule_id = next.rule_id and s.group_key = next.group_key;
  else
    insert into observability_internal.alert_states as s (
      rule_id, group_key, state, pending_since, alert_id, value, sample_count, evaluated_at, cleared_since, no_data_since
    )
    values (
      next.rule_id, next.group_key, next.state, next.pending_since, next.alert_id, next.value, next.sample_count, next.evaluated_at,
      next.cleared_since, next.no_data_since
    )
    on conflict on constraint alert_states_pkey do update
    set
      state = excluded.state, pending_since = excluded.pending_since, alert_id = excluded.alert_id,
      value = excluded.value, sample_count = excluded.sample_count, evaluated_at = excluded.evaluated_at,
      cleared_since = excluded.cleared_since, no_data_since = excluded.no_data_since, last_error = null, last_error_at = null;
  end if;
end;
$$;

comment on function observability_internal.keep_alert_state is 'Writes where a rule and group stand now.';
revoke execute on function observability_internal.keep_alert_state from public;
grant execute on function observability_internal.keep_alert_state to service_role;

create function observability_internal.is_period_over(
  rule observability_internal.alert_rules, alert_id bigint, figure observability_internal.alert_figure
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select rule.period is not null and exists (
    select from observability_internal.alerts as a
    where a.alert_id = is_period_over.alert_id
      and a.window_start < observability_internal.period_start(rule.period, rule.timezone, (figure).window_start)
  );
$$;

comment on function observability_internal.is_period_over is 'Whether an alert is about a calendar period that has ended.';
revoke execute on function observability_internal.is_period_over from public;
grant execute on function observability_internal.is_period_over to service_role;

create function observability_internal.reason_to_resolve(
  rule observability_internal.alert_rules, alert_id bigint, figure observability_internal.alert_figure
) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  -- A value that would still breach the threshold of the alert has not recovered: somebody has moved the threshold, as has
  -- who changed the amount of a budget. But a
  -- condition that holds no more ends it as well, and the middle of a forecast decides nothing.
  select case
    when observability_internal.is_period_over(rule, a.alert_id, figure) then 'period_ended'
    when (figure).value is null then 'no_data'
    when ((figure).evidence ->> 'amount')::numeric <> (a.evidence ->> 'amount')::numeric then 'rule_changed'
    when (figure).evidence ?| '{is_met,certain}' then 'recovered'
    when rule.comparator = 'below' and (figure).value < a.threshold then 'rule_changed'
    when rule.comparator = 'above' and (figure).value > a.threshold then 'rule_changed'
    else 'recovered'
  end
  from observability_internal.alerts as a
  where a.alert_id = reason_to_resolve.alert_id;
$$;

comment on function observability_internal.reason_to_resolve is 'Why an alert ends with this figure.';
revoke execute on function observability_internal.reason_to_resolve from public;
grant execute on function observability_internal.reason_to_resolve to service_role;

create function observability_internal.follow_alert(
  rule observability_internal.alert_rules, alert_id bigint, figure observability_internal.alert_figure, level integer,
  level_threshold numeric, severity text, as_of timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_before observability_internal.alerts;
begin
  select * into strict v_before from observability_internal.alerts as a where a.alert_id = follow_alert.alert_id;
  -- Inside of the hysteresis the value is beyond no threshold, and what was reached stays.
  update observability_internal.alerts as a
  set
    latest_value = figure.value, level = coalesce(follow_alert.level, a.level),
    severity = coalesce(follow_alert.severity, a.severity), threshold = coalesce(level_threshold, a.threshold),
    rule_name = rule.name
  where a.alert_id = follow_alert.alert_id and (a.latest_value, a.level, a.severity, a.threshold, a.rule_name) is distinct from (
    figure.value, coalesce(follow_alert.level, a.level), coalesce(follow_alert.severity, a.severity),
    coalesce(level_threshold, a.threshold), rule.name
  );
  if follow_alert.level is null
    or (v_before.level, v_before.severity, v_before.threshold) is not distinct from (follow_alert.level, follow_alert.severity, level_threshold)
  then
    return;
  end if;
  if follow_alert.level > v_before.level then
    update observability_internal.alerts as a
    set
      value = figure.value, sample_count = figure.sample_count, window_start = figure.window_start,
      window_end = figure.window_end, evidence = coalesce(figure.evidence, '{}')
    where a.alert_id = follow_alert.alert_id;
  end if;
  perform observability_internal.note_transition(
    rule, figure, 'firing', 'firing', level_threshold, follow_alert.severity, follow_alert.alert_id, as_of,
    -- On the same level only an edit of the rule moves threshold or severity.
    case when follow_alert.level = v_before.level then 'the rule was changed by ' || coalesce(rule.updated_by, 'somebody') end
  );
end;
$$;

comment on function observability_internal.follow_alert is
'Moves value, level, severity and threshold of a firing alert on to where value and rule are now.';
revoke execute on function observability_internal.follow_alert from public;
grant execute on function observability_internal.follow_alert to service_role;

create function observability_internal.move_alert_state(
  rule observability_internal.alert_rules, state observability_internal.alert_states, figure observability_internal.alert_figure,
  as_of timestamptz
) returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_is_firing constant boolean := state.state = 'firing';
  v_has_data constant boolean := observability_internal.has_data(rule, figure);
  v_level record;
  v_next observability_internal.alert_states;
begin
  select l.* into v_level from observability_internal.figure_level(rule, figure) as l;
  v_next := observability_internal.decide_alert(rule, state, figure, v_level.level is not null, as_of);
  if v_is_firing and observability_internal.is_period_over(rule, state.alert_id, figure) then
    v_next.state := 'resolved';
    v_next.pending_since := null;
    v_next.cleared_since := null;
    v_next.no_data_since := null;
    v_next.alert_id := null;
  end if;
  if v_is_firing and v_next.state = 'resolved' then
    perform observability_internal.resolve_alert(
      state.alert_id, observability_internal.reason_to_resolve(rule, state.alert_id, figure), figure.value, figure.sample_count, as_of
    );
  elsif v_is_firing and v_has_data then
    perform observability_internal.follow_alert(rule, state.alert_id, figure, v_level.level, v_level.threshold, v_level.severity, as_of);
  elsif v_is_firing and state.no_data_since is null then
    perform observability_internal.note_transition(
      rule, figure, 'firing', 'firing', null, null, state.alert_id, as_of, 'nothing to measure; the alert stays open'
    );
  elsif v_next.state = 'firing' and not v_is_firing then
    v_next.alert_id := observability_internal.fire_alert(
      rule, figure, coalesce(v_level.level, 1), coalesce(v_level.threshold, rule.threshold),
      coalesce(v_level.severity, rule.severity), v_next.pending_since, as_of
    );
  end if;
  if v_next.state <> state.state and not v_is_firing then
    perform observability_internal.note_transition(
      rule, figure, state.state, v_next.state, coalesce(v_level.threshold, rule.threshold),
      coalesce(v_level.severity, rule.severity), v_next.alert_id, as_of
    );
  end if;
  perform observability_internal.keep_alert_state(v_next);
  return case
    when v_is_firing and v_next.state = 'firing' then 'firing'
    when v_next.state = 'firing' then 'fired'
    when v_is_firing then 'resolved'
    when v_next.state = 'pending' then 'pending'
    else 'ok'
  end;
end;
$$;

comment on function observability_internal.move_alert_state is
'Moves one group of a rule and writes what follows; returns ok, pending, fired, firing or resolved.';
revoke execute on function observability_internal.move_alert_state from public;
grant execute on function observability_internal.move_alert_state to service_role;

create function observability_internal.alert_candidates(rule observability_internal.alert_rules, as_of timestamptz)
returns table (figure observability_internal.alert_figure, state observability_internal.alert_states, is_new boolean, place bigint)
language sql
stable
security invoker
set search_path = ''
as $$
  -- A breach in either window counts, with the newest figure. What fires or waits is always looked at, groups at rest
  -- only where they breach, the worst first.
  with known as (
    select s as state_row, s.rule_id, s.group_key, s.state
    from observability_internal.alert_states as s
    where s.rule_id = rule.rule_id and ((rule.group_by is null) = (s.group_key = '') or s.state in ('pending', 'firing'))
  ),
  figures as (
    select f.*, l.level, coalesce(k.state in ('pending', 'firing'), false) as is_active
    from observability_internal.measure_alert(rule, as_of) as f
    left join lateral observability_internal.figure_level(rule, f) as l on true
    left join known as k on f.group_key = k.group_key
  ),
  best as (
    select distinct on (f.group_key) f.*
    from figures as f
    order by
      f.group_key,
      f.level is not null and (f.is_active or f.sample_count >= observability_internal.needed_sample(rule)) desc, f.level desc nulls last,
      f.sample_count > 0 desc, f.window_start desc
  )
  select
    row(
      coalesce(b.group_key, k.group_key), b.window_start, b.window_end,
      -- A group without calls has none of what is counted, and one that others outdo in spend no unusual spend; of the
      -- rest nothing is known.
      case
        when b.group_key is not null then b.value
        when observability_internal.metric_kinds() ->> rule.metric = 'amount' then 0
        when rule.metric like 'anomaly%' and exists (select from best) then 0
      end,
      coalesce(b.sample_count, 0),
      coalesce(b.evidence, '{}')
    )::observability_internal.alert_figure as figure,
    k.state_row as state, k.rule_id is null as is_new,
    row_number() over (
      order by
        b.level desc nulls last,
        case when rule.comparator = 'above' then b.value else -b.value end desc nulls last, b.group_key
    ) as place
  from best as b
  full join known as k on b.group_key = k.group_key
  where k.rule_id is not null or b.level is not null and b.sample_count >= observability_internal.needed_sample(rule);
$$;

comment on function observability_internal.alert_candidates is
'The groups of a rule that an evaluation looks at: their figure, where they stand, and their place among the worst.';
revoke execute on function observability_internal.alert_candidates from public;
grant execute on function observability_internal.alert_candidates to service_role;

create function observability_internal.evaluate_alert_rule(rule_id bigint, as_of timestamptz) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule observability_internal.alert_rules;
  v_candidate record;
  v_counts jsonb := '{}'::jsonb;
  v_outcome text;
  v_over_limit integer := 0;
  v_smallest numeric;
  v_largest numeric;
  v_firing integer;
begin
  -- A share lock: the rule is neither disabled nor deleted between this reading and the transition.
  select * into v_rule from observability_internal.alert_rules as r
  where r.rule_id = evaluate_alert_rule.rule_id and r.is_enabled for share;
  if not found then
    return '{}'::jsonb;
  end if;
  insert into observability_internal.alert_states (rule_id) values (v_rule.rule_id) on conflict do nothing;
  perform from observability_internal.alert_states as s where s.rule_id = v_rule.rule_id order by s.group_key for update;
  select count(*) into v_firing
  from observability_internal.alert_states as s
  where s.rule_id = v_rule.rule_id and s.group_key <> '' and s.state in ('pending', 'firing');
  for v_candidate in
    select c.* from observability_internal.alert_candidates(v_rule, as_of) as c
    order by c.place
  loop
    -- Who is among the worst is told even where the places are taken by lesser ones, up to twice as many.
    if v_rule.group_by is not null and v_candidate.is_new then
      if v_candidate.place > v_rule.group_limit or v_firing >= 2 * v_rule.group_limit then
        v_over_limit := v_over_limit + 1;
        v_smallest := least(v_smallest, (v_candidate.figure).value);
        v_largest := greatest(v_largest, (v_candidate.figure).value);
        continue;
      end if;
      v_firing := v_firing + 1;
    end if;
    if v_candidate.is_new then
      v_candidate.state := jsonb_populate_record(
        null::observability_internal.alert_states,
        jsonb_build_object('rule_id', v_rule.rule_id, 'group_key', (v_candidate.figure).group_key, 'state', 'ok')
      );
    end if;
    v_outcome := observability_internal.move_alert_state(v_rule, v_candidate.state, v_candidate.figure, as_of);
    v_counts := v_counts || jsonb_build_object(v_outcome, coalesce((v_counts ->> v_outcome)::integer, 0) + 1);
  end loop;
  if v_rule.group_by is not null then
    update observability_internal.alert_states as s
    set
      evaluated_at = as_of, groups_over_limit = v_over_limit, smallest_over_limit = v_smallest,
      largest_over_limit = v_largest, last_error = null, last_error_at = null
    where s.rule_id = v_rule.rule_id and s.group_key = '';
  end if;
  perform observability_internal.tell_rule(v_rule, as_of);
  return case when v_counts = '{}' then '{"ok": 1}' else v_counts end;
end;
$$;

comment on function observability_internal.evaluate_alert_rule is
'Moves every group of a rule; how many came to which end, {} where the rule was disabled or deleted.';
revoke execute on function observability_internal.evaluate_alert_rule from public;
grant execute on function observability_internal.evaluate_alert_rule to service_role;

create function observability.evaluate_alerts(as_of timestamptz default null) returns jsonb
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
  v_counts jsonb := '{"ok": 0, "pending": 0, "fired": 0, "firing": 0, "resolved": 0, "failed": 0, "late": 0}'::jsonb;
begin
  -- The lock has a statement of its own: what follows sees all that the last holder committed.
  if not pg_try_advisory_xact_lock(hashtextextended('treering.evaluate_alerts', 0)) then
    return v_counts || jsonb_build_object('is_busy', true, 'as_of', evaluate_alerts.as_of);
  end if;
  v_as_of := coalesce(evaluate_alerts.as_of, clock_timestamp());
  for v_rule_id in
    select r.rule_id from observability_internal.alert_rules as r where r.is_enabled order by r.rule_id
  loop
    begin
      v_outcomes := observability_internal.evaluate_alert_rule(v_rule_id, v_as_of);
    exception
      when others then
        v_outcomes := '{"failed": 1}'::jsonb;
        insert into observability_internal.alert_states as s (rule_id, last_error, last_error_at)
        select r.rule_id, left(sqlstate || ': ' || sqlerrm, 500), v_as_of
        from observability_internal.alert_rules as r
        where r.rule_id = v_rule_id
        for key share
        on conflict (rule_id, group_key) do update
        set last_error = excluded.last_error, last_error_at = excluded.last_error_at;
    end;
    select v_counts || coalesce(jsonb_object_agg(o.key, (v_counts ->> o.key)::integer + o.value::integer), '{}')
    into v_counts
    from jsonb_each_text(v_outcomes) as o;
  end loop;
  return v_counts || jsonb_build_object(
    'is_busy', false, 'as_of', v_as_of, 'late', observability_internal.catch_up(v_as_of)
  );
end;
$$;

comment on function observability.evaluate_alerts is
'Evaluates every enabled rule as of a time (default now), then minutes that were not judged in time. Returns {is_busy, '
'as_of, ok, pending, fired, firing, resolved, failed, late}.';
revoke execute on function observability.evaluate_alerts from public;
grant execute on function observability.evaluate_alerts to service_role;
