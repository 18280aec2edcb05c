-- Purpose: measure each rule over the rollups, move its state, and write the messages with the transition.
-- Locks: one advisory transaction lock; ROW SHARE on alert_rules, ROW EXCLUSIVE on states, alerts and the outbox.

create function observability_internal.alert_cells(dims integer[], window_start timestamptz, window_end timestamptz)
returns setof observability_internal.usage_by_minute
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
declare
  -- Whole hours come from the hourly rollup, the rest from minutes; without a whole hour these two are the same.
  v_first_hour constant timestamptz := least(
    date_trunc('hour', alert_cells.window_start + interval '59 minutes'), alert_cells.window_end
  );
  v_last_hour constant timestamptz := greatest(date_trunc('hour', alert_cells.window_end), v_first_hour);
begin
  return query
  select m.*
  from observability_internal.usage_by_minute as m
  where m.bucket >= alert_cells.window_start and m.bucket < v_first_hour and (dims is null or m.dim_id = any (dims));
  return query
  select h.*
  from observability_internal.usage_by_hour as h
  where h.bucket >= v_first_hour and h.bucket < v_last_hour and (dims is null or h.dim_id = any (dims));
  return query
  select m.*
  from observability_internal.usage_by_minute as m
  where m.bucket >= v_last_hour and m.bucket < alert_cells.window_end and (dims is null or m.dim_id = any (dims));
end;
$$;

comment on function observability_internal.alert_cells(integer[], timestamptz, timestamptz) is 'The rollup rows of a window of whole minutes; null dims mean all.';

create function observability_internal.measure_alert_metric(
  metric text, scope jsonb, window_s integer, as_of timestamptz
) returns table (window_start timestamptz, window_end timestamptz, value numeric, sample_count bigint)
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_minute constant timestamptz := date_trunc('minute', measure_alert_metric.as_of);
  v_dims constant integer[] := observability_internal.resolve_dimensions(measure_alert_metric.scope);
  v_end timestamptz;
begin
  -- Two windows of the same length: the one that the running minute ends, and the last one of whole minutes. The
  -- first sees a breach within seconds; the second keeps it in sight when the next minute begins almost empty.
  foreach v_end in array array[v_minute + interval '1 minute', v_minute] loop
    window_start := v_end - make_interval(secs => measure_alert_metric.window_s);
    window_end := least(v_end, measure_alert_metric.as_of);
    if measure_alert_metric.metric = 'p99_latency_ms' then
      select
        observability_internal.histogram_quantile(array_agg(pair.entry order by b.bin, pair.position), 0.99)::numeric,
        coalesce(sum(b.weight) filter (where pair.position = 1), 0)::bigint
      into value, sample_count
      from (
        select c.latency[2 * i - 1] as bin, sum(c.latency[2 * i]) as weight
        from observability_internal.alert_cells(v_dims, window_start, v_end) as c
        cross join lateral generate_series(1, cardinality(c.latency) / 2) as i
        group by c.latency[2 * i - 1]
      ) as b
      cross join lateral (values (1, b.bin), (2, b.weight)) as pair (position, entry);
    else
      select
        case measure_alert_metric.metric
          when 'error_rate' then
            coalesce(sum(c.requests) filter (where d.status = 'error'), 0) / nullif(sum(c.requests), 0)
          -- Where nothing was priced the spend is unknown, not zero.
          when 'spend' then
            case when sum(c.unpriced_requests) = sum(c.requests) then null else coalesce(sum(c.cost), 0) end
        end,
        coalesce(sum(c.requests), 0)
      into value, sample_count
      from observability_internal.alert_cells(v_dims, window_start, v_end) as c
      inner join observability_internal.dimensions as d on c.dim_id = d.dim_id;
    end if;
    return next;
  end loop;
end;
$$;

comment on function observability_internal.measure_alert_metric(text, jsonb, integer, timestamptz) is 'The metric over the running and the last whole window; a null value is unknown.';

create function observability_internal.describe_alert(alert observability.alerts) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'alert_id', alert.alert_id, 'rule_id', alert.rule_id, 'rule_name', alert.rule_name, 'metric', alert.metric,
    'scope', alert.scope, 'state', alert.state, 'severity', alert.severity, 'value', trim_scale(alert.value)::text,
    'threshold', alert.threshold::text, 'sample_count', alert.sample_count, 'window_start', alert.window_start,
    'window_end', alert.window_end, 'started_at', alert.started_at, 'resolved_at', alert.resolved_at,
    'resolution', alert.resolution, 'resolved_value', trim_scale(alert.resolved_value)::text,
    'resolved_sample_count', alert.resolved_sample_count
  );
$$;

comment on function observability_internal.describe_alert(observability.alerts) is 'An alert as the app and the messages show it; decimals as text.';

create function observability_internal.enqueue_notifications(alert_id bigint, event text, as_of timestamptz)
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
  select * into strict v_alert from observability.alerts as a where a.alert_id = enqueue_notifications.alert_id;
  -- The end of an alert goes to whoever heard of its beginning, whatever the rule's channels are by now.
  insert into observability_internal.notifications
  (alert_id, channel_id, channel_name, event, payload, next_attempt_at, created_at)
  select
    v_alert.alert_id, c.channel_id, c.name, enqueue_notifications.event,
    jsonb_build_object(
      'schema', 'treering.alert/1', 'event', enqueue_notifications.event, 'occurred_at', enqueue_notifications.as_of,
      'alert', observability_internal.describe_alert(v_alert)
    ),
    enqueue_notifications.as_of, enqueue_notifications.as_of
  from observability.notification_channels as c
  where c.is_enabled
    and case enqueue_notifications.event
      when 'firing' then exists (
        select from observability.alert_rule_channels as rc
        where rc.rule_id = v_alert.rule_id and rc.channel_id = c.channel_id
      )
      else exists (
        select from observability_internal.notifications as n
        where n.alert_id = v_alert.alert_id and n.channel_id = c.channel_id and n.event = 'firing'
      )
    end;
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability_internal.enqueue_notifications(bigint, text, timestamptz) is 'Writes one message per enabled channel to the outbox; returns how many.';

create function observability_internal.resolve_alert(
  alert_id bigint, resolution text, value numeric, sample_count bigint, as_of timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  update observability.alerts as a
  set
    state = 'resolved', resolved_at = resolve_alert.as_of, resolution = resolve_alert.resolution,
    resolved_value = resolve_alert.value, resolved_sample_count = resolve_alert.sample_count
  where a.alert_id = resolve_alert.alert_id;
  perform observability_internal.enqueue_notifications(resolve_alert.alert_id, 'resolved', resolve_alert.as_of);
end;
$$;

comment on function observability_internal.resolve_alert(bigint, text, numeric, bigint, timestamptz) is 'Ends an alert with its reason and figures, and tells its channels.';

create function observability_internal.evaluate_alert_rule(rule_id bigint, as_of timestamptz) returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule observability.alert_rules;
  v_state observability_internal.alert_states;
  v_figure record;
  v_is_breach boolean;
  v_pending_since timestamptz;
  v_alert_id bigint;
begin
  -- A share lock: the rule is neither disabled nor deleted between this reading and the transition.
  select * into v_rule
  from observability.alert_rules as r
  where r.rule_id = evaluate_alert_rule.rule_id and r.is_enabled
  for share;
  if not found then
    return 'gone';
  end if;
  insert into observability_internal.alert_states (rule_id) values (v_rule.rule_id) on conflict do nothing;
  select * into strict v_state
  from observability_internal.alert_states as s
  where s.rule_id = v_rule.rule_id and s.group_key = ''
  for update;

  -- A breach in either window counts, with the newest figure. Once firing, a thinning sample does not end it.
  select
    m.*,
    coalesce(
      m.value > v_rule.threshold and (v_state.state = 'firing' or m.sample_count >= v_rule.minimum_sample), false
    ) as is_breach
  into strict v_figure
  from observability_internal.measure_alert_metric(v_rule.metric, v_rule.scope, v_rule.window_s, as_of) as m
  order by is_breach desc, m.sample_count > 0 desc, m.window_start desc
  limit 1;
  v_is_breach := v_figure.is_breach;
  v_pending_since := case when v_is_breach then coalesce(v_state.pending_since, as_of) end;

  if v_state.state = 'firing' then
    v_alert_id := v_state.alert_id;
    if not v_is_breach then
      perform observability_internal.resolve_alert(
        v_alert_id, 'recovered', v_figure.value, v_figure.sample_count, as_of
      );
      v_alert_id := null;
    end if;
  elsif v_is_breach and as_of - v_pending_since >= make_interval(secs => v_rule.for_s) then
    insert into observability.alerts as a (
      rule_id, rule_name, metric, scope, severity, threshold, value, sample_count, window_start, window_end,
      pending_since, started_at
    )
    values (
      v_rule.rule_id, v_rule.name, v_rule.metric, v_rule.scope, v_rule.severity, v_rule.threshold, v_figure.value,
      v_figure.sample_count, v_figure.window_start, v_figure.window_end, v_pending_since, as_of
    )
    returning a.alert_id into v_alert_id;
    perform observability_internal.enqueue_notifications(v_alert_id, 'firing', as_of);
  end if;

  update observability_internal.alert_states as s
  set
    state = case
      when v_alert_id is not null then 'firing'
      when v_is_breach then 'pending'
      when v_state.state in ('firing', 'resolved') then 'resolved'
      else 'ok'
    end,
    pending_since = v_pending_since, alert_id = v_alert_id, value = v_figure.value,
    sample_count = v_figure.sample_count, evaluated_at = as_of, last_error = null, last_error_at = null
  where s.rule_id = v_rule.rule_id and s.group_key = '';
  return case
    when v_alert_id is distinct from v_state.alert_id and v_alert_id is not null then 'fired'
    when v_alert_id is distinct from v_state.alert_id then 'resolved'
    when v_alert_id is not null then 'firing'
    when v_is_breach then 'pending'
    else 'ok'
  end;
end;
$$;

comment on function observability_internal.evaluate_alert_rule(bigint, timestamptz) is 'Moves one rule: ok, pending, fired, firing, resolved; or gone where it was disabled or deleted.';

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
  v_outcome text;
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
      v_outcome := observability_internal.evaluate_alert_rule(v_rule_id, v_as_of);
    exception
      when others then
        v_outcome := 'failed';
        insert into observability_internal.alert_states as s (rule_id, last_error, last_error_at)
        select r.rule_id, left(sqlstate || ': ' || sqlerrm, 500), v_as_of
        from observability.alert_rules as r
        where r.rule_id = v_rule_id
        for key share
        on conflict (rule_id, group_key) do update
        set last_error = excluded.last_error, last_error_at = excluded.last_error_at;
    end;
    if v_outcome <> 'gone' then
      v_counts := jsonb_set(v_counts, array[v_outcome], to_jsonb((v_counts ->> v_outcome)::integer + 1));
    end if;
  end loop;
  return v_counts || jsonb_build_object('is_busy', false, 'as_of', v_as_of);
end;
$$;

comment on function observability.evaluate_alerts(timestamptz) is 'Evaluates every enabled rule as of a time (default now). Returns {is_busy, as_of, ok, pending, fired, firing, resolved, failed}.';

-- Security definer: ops who disable or delete a rule may not write alerts and messages themselves.
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
      pending_since = null, alert_id = null
    from observability_internal.alert_states as before
    where s.rule_id = old.rule_id and before.rule_id = s.rule_id and before.group_key = s.group_key
    returning before.*
  loop
    if v_state.alert_id is not null then
      perform observability_internal.resolve_alert(
        v_state.alert_id, case tg_op when 'DELETE' then 'rule_deleted' else 'rule_disabled' end, null, null, now()
      );
    end if;
  end loop;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end;
$$;

comment on function observability_internal.close_alerts_of_rule() is 'Ends what a rule has firing when it is disabled or deleted.';

create trigger close_alerts_of_deleted_rule before delete on observability.alert_rules
for each row execute function observability_internal.close_alerts_of_rule();

create trigger close_alerts_of_disabled_rule before update of is_enabled on observability.alert_rules
for each row when (old.is_enabled and not new.is_enabled)
execute function observability_internal.close_alerts_of_rule();

grant execute on function observability_internal.alert_cells(integer[], timestamptz, timestamptz) to service_role;

grant execute on function observability_internal.measure_alert_metric(text, jsonb, integer, timestamptz) to service_role;

grant execute on function observability_internal.describe_alert(observability.alerts) to authenticated, service_role;

grant execute on function observability_internal.enqueue_notifications(bigint, text, timestamptz) to service_role;

grant execute on function observability_internal.resolve_alert(bigint, text, numeric, bigint, timestamptz) to service_role;

grant execute on function observability_internal.evaluate_alert_rule(bigint, timestamptz) to service_role;

grant execute on function observability.evaluate_alerts(timestamptz) to service_role;
