-- Minutes that were not judged in time, because their calls came late or no worker was there, are judged afterwards.
-- Locks: none to apply, it only creates. At run time ROW EXCLUSIVE on late_minutes, states, alerts and the outbox.

create type observability_internal.late_breach as (
  figure observability_internal.alert_figure,
  breached_from timestamptz,
  breached_until timestamptz,
  level integer,
  threshold numeric,
  severity text
);

comment on type observability_internal.late_breach is 'The worst breach of one group in minutes that are judged late.';

create function observability_internal.note_late_minutes(minutes timestamptz[], is_route boolean) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.late_minutes (is_route, first_minute, end_minute)
  select note_late_minutes.is_route, min(m.minute), max(m.minute) + interval '1 minute'
  from unnest(minutes) as m (minute)
  cross join (select max(s.judged_until) as until from observability_internal.alert_states as s where s.group_key = '') as judged
  where m.minute < judged.until and m.minute >= judged.until - interval '1 day'
  having count(*) > 0;
$$;

comment on function observability_internal.note_late_minutes is
'Notes which of these minutes were judged before their calls came; more than a day back is not looked at again.';
revoke execute on function observability_internal.note_late_minutes from public;
grant execute on function observability_internal.note_late_minutes to service_role;

-- What the current window still holds is judged with it.
create function observability_internal.unjudged_minutes(
  rule observability_internal.alert_rules, state observability_internal.alert_states, late tstzrange, as_of timestamptz
) returns tstzrange
language sql
stable
security invoker
set search_path = ''
as $$
  select case when u.first_minute < u.last_minute then tstzrange(u.first_minute, u.last_minute) end
  from (
    select
      c.window_start,
      greatest(
        least(case when state.judged_until < c.window_start then state.judged_until end, lower(late)),
        observability_internal.whole_tick(rule, as_of - interval '1 day'), state.judged_since
      ) as first_minute,
      least(greatest(case when state.judged_until < c.window_start then c.window_start end, upper(late)), c.window_start) as last_minute
    from (
      select case
        when rule.period is null then observability_internal.whole_tick(rule, as_of) - make_interval(secs => rule.window_s)
        else observability_internal.period_start(rule.period, rule.timezone, as_of)
      end as window_start
    ) as c
  ) as u
  where state.judged_until < u.window_start or lower(late) < u.window_start;
$$;

comment on function observability_internal.unjudged_minutes is
'The minutes of the last day that a rule has not judged, or not with all of their calls, and that its window has left.';
revoke execute on function observability_internal.unjudged_minutes from public;
grant execute on function observability_internal.unjudged_minutes to service_role;

create function observability_internal.is_breach_told(
  rule observability_internal.alert_rules, group_key text, breached_from timestamptz, breached_until timestamptz
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select observability_internal.is_cooling_down(rule, is_breach_told.group_key, is_breach_told.breached_until) or exists (
    select from observability_internal.alerts as a
    where a.rule_id = rule.rule_id and a.group_key = is_breach_told.group_key
      and a.pending_since <= is_breach_told.breached_until + observability_internal.rule_step(rule)
      and coalesce(a.breached_until, a.resolved_at, 'infinity') >= is_breach_told.breached_from - observability_internal.rule_step(rule)
  );
$$;

comment on function observability_internal.is_breach_told is
'Whether an alert has told of a breach already, or one has ended so shortly before that it is not told.';
revoke execute on function observability_internal.is_breach_told from public;
grant execute on function observability_internal.is_breach_told to service_role;

create function observability_internal.late_breaches(
  rule observability_internal.alert_rules, minutes tstzrange, as_of timestamptz
) returns setof observability_internal.late_breach
language sql
stable
security invoker
set search_path = ''
as $$
  -- A sixtieth of long windows is as good as a minute, and reads nothing more than sixty times. The last one ends now, where
  -- these minutes reach that far.
  with step as (
    select s.minute, s.minute * greatest(1, floor(rule.window_s / 60 / extract(epoch from s.minute))::integer) as length
    from (select observability_internal.rule_step(rule) as minute) as s
  ),
  breaches as (
    select
      f.figure, t.tick, l.level, l.threshold, l.severity,
      -- Ticks in a row have the same origin.
      t.tick - s.length * row_number() over (partition by (f.figure).group_key order by t.tick) as origin
    from step as s
    cross join lateral generate_series(
      least(
        observability_internal.whole_tick(rule, upper(minutes) + make_interval(secs => rule.window_s)),
        observability_internal.whole_tick(rule, as_of)
      ),
      observability_internal.whole_tick(rule, lower(minutes)) + s.minute, -s.length
    ) as t (tick)
    cross join lateral (
      -- No calls at all are zero of what is counted.
      select case
        when m.group_key is not null then m
        else row('', t.tick - make_interval(secs => rule.window_s), t.tick, 0, 0, '{}')::observability_internal.alert_figure
      end as figure
      from (select) as one
      left join lateral observability_internal.measure_window(rule, t.tick - make_interval(secs => rule.window_s), t.tick, t.tick) as m on true
      where m.group_key is not null
        or rule.group_by is null and rule.conditions = '[]' and observability_internal.metric_kinds() ->> rule.metric = 'amount'
    ) as f
    cross join lateral observability_internal.figure_level(rule, f.figure) as l
    where (f.figure).sample_count >= observability_internal.needed_sample(rule)
  ),
  runs as (
    select
      b.*, min(b.tick) over run as breached_from, max(b.tick) over run as breached_until,
      case when rule.comparator = 'above' then (b.figure).value else -(b.figure).value end as badness
    from breaches as b
    window run as (partition by (b.figure).group_key, b.origin)
  )
  -- Neither what has been told nor what still goes on hides a lesser breach that nobody has heard of.
  select distinct on ((r.figure).group_key, r.breached_until >= observability_internal.whole_tick(rule, as_of))
    r.figure, r.breached_from, r.breached_until, r.level, r.threshold, r.severity
  from runs as r
  where r.breached_until - r.breached_from >= make_interval(secs => rule.for_s)
    and not observability_internal.is_breach_told(rule, (r.figure).group_key, r.breached_from, r.breached_until)
  order by
    (r.figure).group_key, r.breached_until >= observability_internal.whole_tick(rule, as_of), r.level desc, r.badness desc, r.tick;
$$;

comment on function observability_internal.late_breaches is
'The worst breach of each group over the whole windows that hold any of these minutes, where it lasted for_s.';
revoke execute on function observability_internal.late_breaches from public;
grant execute on function observability_internal.late_breaches to service_role;

create function observability_internal.ended_period_breaches(rule observability_internal.alert_rules, as_of timestamptz)
returns setof observability_internal.late_breach
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_end constant timestamptz := observability_internal.period_start(rule.period, rule.timezone, as_of);
  v_start constant timestamptz := observability_internal.period_start(rule.period, rule.timezone, v_end - interval '1 microsecond');
begin
  return query
  select m.figure, v_start, v_end, l.level, l.threshold, l.severity
  from (
    select f as figure
    from observability_internal.measure_budget(rule, v_end - interval '1 microsecond') as f
    where rule.metric = 'budget_used'
    union all
    select f
    from observability_internal.measure_window(rule, v_start, v_end, v_end) as f
    where rule.budget_id is null
  ) as m
  cross join lateral observability_internal.figure_level(rule, m.figure) as l
  where (m.figure).sample_count >= observability_internal.needed_sample(rule)
    -- Only what is beyond what the period has been told of.
    and not observability_internal.is_cooling_down(rule, (m.figure).group_key, v_end)
    and l.level > coalesce((
      select max(a.level) from observability_internal.alerts as a
      where a.rule_id = rule.rule_id and a.group_key = (m.figure).group_key and a.window_start = v_start
    ), 0);
end;
$$;

comment on function observability_internal.ended_period_breaches is
'What the calendar period before the running one came to in the end, where that is more than its alerts have told.';
revoke execute on function observability_internal.ended_period_breaches from public;
grant execute on function observability_internal.ended_period_breaches to service_role;

create function observability_internal.is_last_look_due(
  rule observability_internal.alert_rules, state observability_internal.alert_states, late tstzrange, as_of timestamptz
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  -- A quarter of an hour after the end of the period, and again when calls of the period come after that.
  select coalesce(
    rule.period is not null and rule.metric <> 'budget_forecast' and state.judged_since < p.start
    and as_of >= p.start + interval '15 minutes' and as_of < p.start + interval '1 day 15 minutes'
    and (state.judged_until < p.start + interval '15 minutes' or lower(late) < p.start), false
  )
  from (select observability_internal.period_start(rule.period, rule.timezone, as_of) as start) as p;
$$;

comment on function observability_internal.is_last_look_due is 'Whether the last calendar period of a rule is to be judged (again).';
revoke execute on function observability_internal.is_last_look_due from public;
grant execute on function observability_internal.is_last_look_due to service_role;

create function observability_internal.fire_late(
  rule observability_internal.alert_rules, breaches observability_internal.late_breach[], as_of timestamptz
) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_breach observability_internal.late_breach;
  v_alert_id bigint;
  v_alert_ids bigint[] := '{}'::bigint[];
  v_over numeric[] := '{}'::numeric[];
begin
  foreach v_breach in array breaches loop
    -- What still goes on is the ordinary evaluation's, which must not wait once more.
    if v_breach.breached_until >= observability_internal.whole_tick(rule, as_of) and rule.period is null then
      update observability_internal.alert_states as s
      set pending_since = least(s.pending_since, v_breach.breached_from)
      where s.rule_id = rule.rule_id and s.group_key = (v_breach.figure).group_key and s.state = 'pending';
      continue;
    end if;
    if cardinality(v_alert_ids) >= rule.group_limit then
      v_over := v_over || (v_breach.figure).value;
      continue;
    end if;
    v_alert_id := observability_internal.fire_alert(
      rule, v_breach.figure, v_breach.level, v_breach.threshold, v_breach.severity, v_breach.breached_from, as_of,
      v_breach.breached_until
    );
    perform observability_internal.note_transition(
      rule, v_breach.figure, 'ok', 'firing', v_breach.threshold, v_breach.severity, v_alert_id, as_of, 'late'
    );
    v_alert_ids := v_alert_ids || v_alert_id;
  end loop;
  if cardinality(v_alert_ids) > 0 then
    -- For this message; the next evaluation writes its own.
    update observability_internal.alert_states as s
    set groups_over_limit = o.count, smallest_over_limit = o.smallest, largest_over_limit = o.largest
    from (select count(*)::integer as count, min(v.value) as smallest, max(v.value) as largest from unnest(v_over) as v (value)) as o
    where s.rule_id = rule.rule_id and s.group_key = '' and rule.group_by is not null;
    perform observability_internal.tell_rule(rule, as_of);
    perform observability_internal.resolve_alert(o.alert_id, 'recovered', null, null, as_of) from unnest(v_alert_ids) as o (alert_id);
    perform observability_internal.tell_ends(rule.rule_id, as_of);
  end if;
  return cardinality(v_alert_ids);
end;
$$;

comment on function observability_internal.fire_late is
'Fires, tells and ends an alert for each of these breaches, the worst first, where none has told of it; returns how many.';
revoke execute on function observability_internal.fire_late from public;
grant execute on function observability_internal.fire_late to service_role;

create function observability_internal.judge_late(
  rule observability_internal.alert_rules, state observability_internal.alert_states, late tstzrange, as_of timestamptz
) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_minutes constant tstzrange := observability_internal.unjudged_minutes(rule, state, late, as_of);
  v_breaches observability_internal.late_breach[];
begin
  if observability_internal.is_last_look_due(rule, state, late, as_of) then
    select array_agg(b order by b.level desc, case when rule.comparator = 'above' then (b.figure).value else -(b.figure).value end desc)
    into v_breaches
    from observability_internal.ended_period_breaches(rule, as_of) as b;
  elsif rule.period is null and not isempty(v_minutes) and observability_internal.metric_kinds() ->> rule.metric <> 'figure' then
    select array_agg(b order by b.level desc, case when rule.comparator = 'above' then (b.figure).value else -(b.figure).value end desc)
    into v_breaches
    from observability_internal.late_breaches(rule, v_minutes, as_of) as b;
  end if;
  return case when v_breaches is null then 0 else observability_internal.fire_late(rule, v_breaches, as_of) end;
end;
$$;

comment on function observability_internal.judge_late is 'Judges what a rule has not judged in time; returns how many alerts that made.';
revoke execute on function observability_internal.judge_late from public;
grant execute on function observability_internal.judge_late to service_role;

create function observability_internal.catch_up(as_of timestamptz) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  -- What is going on must not wait for what is over: the rest is judged next time.
  v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds';
  v_calls tstzrange;
  v_routes tstzrange;
  v_late tstzrange;
  v_rule record;
  v_count integer := 0;
  v_waiting bigint[] := '{}'::bigint[];
begin
  with taken as (delete from observability_internal.late_minutes as m returning m.*)
  select
    tstzrange(min(t.first_minute) filter (where not t.is_route), max(t.end_minute) filter (where not t.is_route)),
    tstzrange(min(t.first_minute) filter (where t.is_route), max(t.end_minute) filter (where t.is_route))
  into v_calls, v_routes
  from taken as t;
  for v_rule in
    select r as rule, s as state, r.rule_id, r.metric
    from observability_internal.alert_rules as r
    inner join observability_internal.alert_states as s on r.rule_id = s.rule_id and s.group_key = ''
    -- What was before its first evaluation, or while it was off, is not the rule's.
    where r.is_enabled and s.judged_since is not null and (
      s.judged_until < observability_internal.whole_tick(r, catch_up.as_of) or lower(v_calls) is not null or lower(v_routes) is not null
    )
    order by r.rule_id
  loop
    v_late := case when v_rule.metric like '%route\_%' then v_routes else v_calls end;
    if lower(v_late) is null then
      v_late := null;
    end if;
    begin
      if clock_timestamp() < v_deadline then
        v_count := v_count + observability_internal.judge_late(v_rule.rule, v_rule.state, v_late, catch_up.as_of);
        continue;
      end if;
    exception
      when others then
        update observability_internal.alert_states as s
        set last_error = left(sqlstate || ': ' || sqlerrm, 500), last_error_at = catch_up.as_of
        where s.rule_id = v_rule.rule_id and s.group_key = '';
    end;
    v_waiting := v_waiting || v_rule.rule_id;
    update observability_internal.alert_states as s
    set judged_until = least(s.judged_until, lower(v_late))
    where s.rule_id = v_rule.rule_id and s.group_key = '';
  end loop;
  update observability_internal.alert_states as s
  set judged_until = w.tick, judged_since = coalesce(s.judged_since, w.tick)
  from observability_internal.alert_rules as r
  cross join lateral (select observability_internal.whole_tick(r, catch_up.as_of) as tick) as w
  where s.rule_id = r.rule_id and s.group_key = '' and r.is_enabled and s.judged_until is distinct from w.tick
    and s.last_error_at is distinct from catch_up.as_of and r.rule_id <> all (v_waiting);
  return v_count;
end;
$$;

comment on function observability_internal.catch_up is
'Judges what has come late or was not judged while no worker was there, up to a day back; returns how many alerts that made.';
revoke execute on function observability_internal.catch_up from public;
grant execute on function observability_internal.catch_up to service_role;
