-- Moves every rule and group through ok, pending, firing and resolved, and writes the messages in the same transaction.
-- Locks: none to apply, it only creates. At run time one advisory transaction lock; ROW SHARE on alert_rules, ROW
-- EXCLUSIVE on states, alerts and the outbox.

create function observability_internal.is_breach(
  rule observability_internal.alert_rules, state observability_internal.alert_states, figure observability_internal.alert_figure,
  is_past_threshold boolean
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(case
    when (figure).value is null or not ((figure).sample_count > 0 or (rule).comparator = 'below') then
      case (rule).no_data when 'keep' then (state).state in ('pending', 'firing') else (rule).no_data = 'firing' end
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

create function observability_internal.keep_alert_state(
  state observability_internal.alert_states, next_state text, pending_since timestamptz, alert_id bigint,
  figure observability_internal.alert_figure, as_of timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  -- Groups at rest need no row.
  if next_state in ('ok', 'resolved') and state.group_key <> '' then
    delete from observability_internal.alert_states as s where s.rule_id = state.rule_id and s.group_key = state.group_key;
  else
    insert into observability_internal.alert_states as s (
      rule_id, group_key, state, pending_since, alert_id, value, sample_count, evaluated_at
    )
    values (
      state.rule_id, state.group_key, next_state, keep_alert_state.pending_since, keep_alert_state.alert_id, figure.value, figure.sample_count, as_of
    )
    on conflict (rule_id, group_key) do update
    set
      state = excluded.state, pending_since = excluded.pending_since, alert_id = excluded.alert_id,
      value = excluded.value, sample_count = excluded.sample_count, evaluated_at = excluded.evaluated_at,
      last_error = null, last_error_at = null;
  end if;
end;
$$;

comment on function observability_internal.keep_alert_state is 'Writes where a rule and group stand now.';
revoke execute on function observability_internal.keep_alert_state from public;
grant execute on function observability_internal.keep_alert_state to service_role;

create function observability_internal.reason_to_resolve(
  rule observability_internal.alert_rules, alert_id bigint, value numeric
) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  -- A value that would still breach the threshold of the alert has not recovered: somebody has moved the threshold.
  select case
    when reason_to_resolve.value is null then 'no_data'
    when rule.comparator = 'below' and reason_to_resolve.value < a.threshold then 'rule_changed'
    when rule.comparator = 'above' and reason_to_resolve.value > a.threshold then 'rule_changed'
    else 'recovered'
  end
  from observability_internal.alerts as a
  where a.alert_id = reason_to_resolve.alert_id;
$$;

comment on function observability_internal.reason_to_resolve is 'Why an alert ends with this value.';
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
  v_is_breach := observability_internal.is_breach(rule, state, figure, v_level.level is not null);
  v_pending_since := case when v_is_breach then coalesce(state.pending_since, as_of) end;
  if v_is_firing and not v_is_breach then
    perform observability_internal.resolve_alert(
      v_alert_id, observability_internal.reason_to_resolve(rule, v_alert_id, figure.value), figure.value, figure.sample_count,
      as_of
    );
    v_alert_id := null;
    v_next := 'resolved';
  elsif v_is_firing then
    v_next := 'firing';
    if v_has_data then
      perform observability_internal.follow_alert(
        rule, v_alert_id, figure, v_level.level, v_level.threshold, v_level.severity, as_of
      );
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
  if v_next not in ('firing', state.state) and not v_is_firing then
    perform observability_internal.note_transition(
      rule, figure, state.state, v_next, coalesce(v_level.threshold, rule.threshold),
      coalesce(v_level.severity, rule.severity), null, as_of
    );
  end if;
  perform observability_internal.keep_alert_state(state, v_next, v_pending_since, v_alert_id, figure, as_of);
  return case
    when v_is_firing and v_next = 'firing' then 'firing'
    when v_next = 'firing' then 'fired'
    when v_is_firing then 'resolved'
    when v_next = 'pending' then 'pending'
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
    left join lateral observability_internal.alert_level(rule, f.value) as l on true
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
      coalesce(b.group_key, k.group_key), b.window_start, b.window_end, b.value, coalesce(b.sample_count, 0),
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
      v_candidate.state := row(
        v_rule.rule_id, (v_candidate.figure).group_key, 'ok', null, null, null, null, null, null, null, 0, null, null
      )::observability_internal.alert_states;
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
  v_counts jsonb := '{"ok": 0, "pending": 0, "fired": 0, "firing": 0, "resolved": 0, "failed": 0}'::jsonb;
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
  return v_counts || jsonb_build_object('is_busy', false, 'as_of', v_as_of);
end;
$$;

comment on function observability.evaluate_alerts is
'Evaluates every enabled rule as of a time (default now). Returns {is_busy, as_of, ok, pending, fired, firing, '
'resolved, failed}.';
revoke execute on function observability.evaluate_alerts from public;
grant execute on function observability.evaluate_alerts to service_role;
