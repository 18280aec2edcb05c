-- The windows of a rule, and its figures over each of them, for every group.
-- Locks: none; it only creates.

create function observability_internal.period_start(period text, timezone text, as_of timestamptz) returns timestamptz
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select date_trunc(period, as_of at time zone timezone) at time zone timezone;
$$;

comment on function observability_internal.period_start is 'When the calendar day, week or month of a moment began in a time zone.';
revoke execute on function observability_internal.period_start from public;
grant execute on function observability_internal.period_start to authenticated, service_role;

create function observability_internal.rule_step(rule observability_internal.alert_rules) returns interval
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case when observability_internal.is_by_user(rule) then interval '15 minutes' else interval '1 minute' end;
$$;

comment on function observability_internal.rule_step is 'How far apart the windows of a rule lie: a minute, by user a quarter of an hour.';
revoke execute on function observability_internal.rule_step from public;
grant execute on function observability_internal.rule_step to authenticated, service_role;

create function observability_internal.whole_tick(rule observability_internal.alert_rules, as_of timestamptz) returns timestamptz
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select date_bin(observability_internal.rule_step(rule), as_of, '2000-01-01 00:00:00+00');
$$;

comment on function observability_internal.whole_tick is 'When the last whole minute (by user, quarter of an hour) of a rule ended.';
revoke execute on function observability_internal.whole_tick from public;
grant execute on function observability_internal.whole_tick to authenticated, service_role;

create function observability_internal.measure_budget(rule observability_internal.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_budget observability_internal.budgets;
  v_start timestamptz;
  v_end timestamptz;
  v_spend record;
  v_elapsed numeric;
  v_rule observability_internal.alert_rules := rule;
  v_evidence jsonb;
begin
  select * into strict v_budget from observability_internal.budgets as b where b.budget_id = rule.budget_id;
  v_start := observability_internal.period_start(v_budget.period, v_budget.timezone, as_of);
  v_end := ((v_start at time zone v_budget.timezone) + ('1 ' || v_budget.period)::interval) at time zone v_budget.timezone;
  v_rule.metric := 'spend';
  v_rule.scope := v_budget.scope;
  select m.value, m.sample_count into v_spend
  from observability_internal.measure_calls(v_rule, v_start, date_trunc('minute', as_of) + interval '1 minute') as m;
  v_evidence := jsonb_build_object(
    'budget', v_budget.name, 'amount', v_budget.amount::text, 'spent', trim_scale(v_spend.value)::text,
    'period', v_budget.period, 'period_start', v_start, 'period_end', v_end, 'timezone', v_budget.timezone
  );
  if rule.metric = 'budget_used' then
    return query select '', v_start, as_of, v_spend.value / v_budget.amount, coalesce(v_spend.sample_count, 0), v_evidence;
    return;
  end if;
  -- Until the worker has written a forecast, the run rate stands in, from a tenth of the period on. Of what is
  -- left of it a quarter is certain enough to fire, as by the forecasts of the worker where they have no history.
  v_elapsed := extract(epoch from as_of - v_start) / extract(epoch from v_end - v_start);
  return query
  select
    '', v_start, as_of, case when v_elapsed >= 0.1 then v_spend.value / v_elapsed / v_budget.amount end,
    coalesce(v_spend.sample_count, 0),
    v_evidence || jsonb_build_object(
      'method', 'run_rate', 'forecast', trim_scale(round(v_spend.value / nullif(v_elapsed, 0), 6))::text,
      'certain', round(v_spend.value * (1 + (1 / nullif(v_elapsed, 0) - 1) / 4) / v_budget.amount, 6)
    );
end;
$$;

comment on function observability_internal.measure_budget is 'The share of a budget that its running period has used, or will have used at its end.';
revoke execute on function observability_internal.measure_budget from public;
grant execute on function observability_internal.measure_budget to authenticated, service_role;

create function observability_internal.measure_computed(rule observability_internal.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language sql
stable
security invoker
set search_path = ''
as $$
  select v.group_key, v.window_start, v.window_end, v.value, v.sample_count, v.evidence
  from observability_internal.metric_values as v
  where v.rule_id = rule.rule_id and v.evaluated_at <= as_of and v.valid_until > as_of;
$$;

comment on function observability_internal.measure_computed is 'The values that the worker has written for a rule and that still hold.';
revoke execute on function observability_internal.measure_computed from public;
grant execute on function observability_internal.measure_computed to authenticated, service_role;

create function observability_internal.measure_forecast(rule observability_internal.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_start constant timestamptz := observability_internal.period_start(rule.period, rule.timezone, as_of);
begin
  return query
  select c.* from observability_internal.measure_computed(rule, as_of) as c where c.window_start >= v_start;
  if found then
    return;
  end if;
  -- A worker that was away has left an old value, which says that there is a better one than the run rate.
  if exists (select from observability_internal.metric_values as v where v.rule_id = rule.rule_id) then
    return query select '', v_start, as_of, null::numeric, 0::bigint, '{}'::jsonb;
  else
    return query select b.* from observability_internal.measure_budget(rule, as_of) as b;
  end if;
end;
$$;

comment on function observability_internal.measure_forecast is
'The share of a budget that its running period is expected to use; unknown while the worker''s forecast is too old.';
revoke execute on function observability_internal.measure_forecast from public;
grant execute on function observability_internal.measure_forecast to authenticated, service_role;

-- Two windows: the one that the running minute ends, and the last one of whole minutes. The first sees a breach within
-- seconds; the second keeps it in sight when the next minute begins almost empty. A sum can only grow in the running minute,
-- so its window counts as one of the length. A ratio or a quantile of it says little: there the running minute is added
-- to the whole window. A lower limit and a change are judged over whole minutes alone, for the running one is not full
-- yet. By user, minutes are quarters of an hour.
create function observability_internal.alert_windows(rule observability_internal.alert_rules, as_of timestamptz)
returns table (window_start timestamptz, window_end timestamptz)
language sql
stable
security invoker
set search_path = ''
as $$
  select
    case
      when rule.period is not null then observability_internal.period_start(rule.period, rule.timezone, as_of)
      when k.kind in ('share', 'quantile', 'burn') then k.tick - make_interval(secs => rule.window_s)
      else ends.tick - make_interval(secs => rule.window_s)
    end,
    ends.tick
  from (
    select
      observability_internal.metric_kinds() ->> rule.metric as kind, observability_internal.rule_step(rule) as step,
      observability_internal.whole_tick(rule, as_of) as tick
  ) as k
  cross join lateral (values (k.tick + k.step, true), (k.tick, false)) as ends (tick, is_running)
  where case
    -- A bill has days, not minutes: the second window would hold the same ones.
    when rule.period is not null or rule.metric = 'provider_drift' then ends.is_running
    when rule.comparator = 'below' or k.kind = 'change' then not ends.is_running
    else true
  end;
$$;

comment on function observability_internal.alert_windows is 'The windows that a rule is judged over at a moment.';
revoke execute on function observability_internal.alert_windows from public;
grant execute on function observability_internal.alert_windows to authenticated, service_role;

create function observability_internal.measure_window(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz, as_of timestamptz
) returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_end constant timestamptz := least(window_end, as_of);
  v_kind constant text := observability_internal.metric_kinds() ->> rule.metric;
  v_figures observability_internal.alert_figure[];
begin
  if v_kind = 'change' then
    select array_agg(row(m.group_key, measure_window.window_start, v_end, m.value, m.sample_count, m.evidence)::observability_internal.alert_figure)
    into v_figures
    from observability_internal.measure_change(rule, measure_window.window_start, measure_window.window_end) as m;
  elsif v_kind = 'burn' then
    select array_agg(row(m.group_key, measure_window.window_start, v_end, m.value, m.sample_count, m.evidence)::observability_internal.alert_figure)
    into v_figures
    from observability_internal.measure_burn(rule, measure_window.window_start, measure_window.window_end) as m;
  else
    select array_agg(row(m.group_key, measure_window.window_start, v_end, m.value, m.sample_count, '{}')::observability_internal.alert_figure)
    into v_figures
    from observability_internal.measure_base(
      rule, measure_window.window_start, case rule.metric when 'provider_drift' then v_end else measure_window.window_end end
    ) as m;
  end if;
  if rule.conditions <> '[]' then
    return query select c.* from observability_internal.judge_conditions(rule, v_figures) as c;
  else
    return query select f.* from unnest(v_figures) as f;
  end if;
end;
$$;

comment on function observability_internal.measure_window is 'A rule''s metric over one window, with what its conditions came to.';
revoke execute on function observability_internal.measure_window from public;
grant execute on function observability_internal.measure_window to authenticated, service_role;

create function observability_internal.measure_alert(rule observability_internal.alert_rules, as_of timestamptz)
returns setof observability_internal.alert_figure
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_nothing observability_internal.alert_figure[];
begin
  if rule.metric = 'pipeline_lag_s' then
    return query
    select
      '', as_of, as_of,
      greatest(coalesce(extract(epoch from as_of - min(p.enqueued_at)), 0), 0), 1::bigint,
      jsonb_build_object('pending_rows', coalesce(sum(p.row_count), 0))
    from observability_internal.pending_batches as p;
  elsif rule.metric = 'new_saving' then
    return query
    select
      '', as_of - make_interval(secs => rule.window_s), as_of, coalesce(max(l.expected), 0), count(*),
      case when count(*) > 0 then jsonb_build_object('headline', (array_agg(l.headline order by l.expected desc))[1]) else '{}' end
    from observability_internal.saving_ledger as l
    where l.state = 'open' and l.opened_at > as_of - make_interval(secs => rule.window_s) and l.opened_at <= as_of;
  elsif rule.metric = 'undelivered_messages' then
    return query
    select
      '', as_of, as_of, count(*)::numeric, 1::bigint,
      jsonb_build_object('dead', count(*) filter (where u.is_dead), 'overdue', count(*) filter (where not u.is_dead))
    from observability_internal.undelivered(as_of) as u;
  elsif rule.metric like 'anomaly%' then
    return query select * from observability_internal.measure_computed(rule, as_of);
  elsif rule.metric = 'budget_forecast' then
    return query select * from observability_internal.measure_forecast(rule, as_of);
  elsif rule.budget_id is not null then
    return query select * from observability_internal.measure_budget(rule, as_of);
  else
    return query
    select f.*
    from observability_internal.alert_windows(rule, as_of) as w
    cross join lateral observability_internal.measure_window(rule, w.window_start, w.window_end, as_of) as f;
    -- No calls at all are a figure too: zero of what is counted, nothing known of the rest.
    if rule.group_by is null and not found then
      select array_agg(n.figure) into v_nothing
      from (
        select row(
          '', w.window_start, least(w.window_end, as_of),
          case when observability_internal.metric_kinds() ->> rule.metric = 'amount' then 0::numeric end, 0::bigint, '{}'::jsonb
        )::observability_internal.alert_figure as figure
        from observability_internal.alert_windows(rule, as_of) as w
        order by w.window_end desc
        limit 1
      ) as n;
      if rule.conditions <> '[]' then
        return query select c.* from observability_internal.judge_conditions(rule, v_nothing) as c;
      else
        return query select f.* from unnest(v_nothing) as f;
      end if;
    end if;
  end if;
end;
$$;

comment on function observability_internal.measure_alert is 'A rule''s metric as of a moment: a figure per window and group.';
revoke execute on function observability_internal.measure_alert from public;
grant execute on function observability_internal.measure_alert to authenticated, service_role;

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

comment on function observability.record_metric_values is
'Replaces what a rule''s metric came to, [{group_key, window_start, window_end, value, sample_count, evidence}]; it '
'holds for valid_s.';
revoke execute on function observability.record_metric_values from public;
grant execute on function observability.record_metric_values to service_role;
