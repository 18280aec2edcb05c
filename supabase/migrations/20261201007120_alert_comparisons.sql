-- What rules measure by comparing: with last week, with an objective (burn rates), and further conditions.
-- Locks: none; it only creates.

create function observability_internal.measure_base(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz
) returns table (group_key text, value numeric, sample_count bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if rule.metric like '%route\_%' then
    return query select m.* from observability_internal.measure_routes(rule, measure_base.window_start, measure_base.window_end) as m;
  elsif rule.metric = 'provider_drift' then
    return query
    select '', d.value, d.sample_count
    from observability_internal.measure_provider_drift(rule.scope, measure_base.window_start, measure_base.window_end) as d;
  else
    return query select m.* from observability_internal.measure_calls(rule, measure_base.window_start, measure_base.window_end) as m;
  end if;
end;
$$;

comment on function observability_internal.measure_base is 'A metric that stands for itself over a window, a row per group that has calls.';
revoke execute on function observability_internal.measure_base from public;
grant execute on function observability_internal.measure_base to authenticated, service_role;

-- A week of the rule's time zone, so that the hour is the same on both sides of a change of the clocks.
create function observability_internal.week_before(moment timestamptz, timezone text) returns timestamptz
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select ((moment at time zone timezone) - interval '7 days') at time zone timezone;
$$;

comment on function observability_internal.week_before is 'The same local time a week before.';
revoke execute on function observability_internal.week_before from public;
grant execute on function observability_internal.week_before to authenticated, service_role;

create function observability_internal.measure_change(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz
) returns table (group_key text, value numeric, sample_count bigint, evidence jsonb)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_rule observability_internal.alert_rules := rule;
  v_nothing numeric;
  -- As long as the window itself: between both ends by the clock of last week an hour may be missing, or twice there.
  v_base_end constant timestamptz := observability_internal.week_before(window_end, rule.timezone);
begin
  v_rule.metric := replace(rule.metric, '_vs_last_week', '');
  -- Where there are no calls now, a sum of them is 0 and everything else unknown.
  v_nothing := case when observability_internal.metric_kinds() ->> v_rule.metric = 'amount' then 0 end;
  return query
  select
    coalesce(n.group_key, b.group_key),
    case
      when b.sample_count >= rule.minimum_sample and b.value > 0
        then case when n.group_key is null then v_nothing else n.value end / b.value
    end,
    coalesce(n.sample_count, 0),
    jsonb_build_object(
      'now', trim_scale(case when n.group_key is null then v_nothing else n.value end)::text,
      'last_week', trim_scale(b.value)::text, 'last_week_sample', coalesce(b.sample_count, 0)
    )
  from observability_internal.measure_base(v_rule, measure_change.window_start, measure_change.window_end) as n
  full join observability_internal.measure_base(
    v_rule, v_base_end - (measure_change.window_end - measure_change.window_start), v_base_end
  ) as b on n.group_key = b.group_key;
end;
$$;

comment on function observability_internal.measure_change is
'A metric as a multiple of what it was in the same window of last week; unknown where that had too few calls, or nothing.';
revoke execute on function observability_internal.measure_change from public;
grant execute on function observability_internal.measure_change to authenticated, service_role;

-- After "Alerting on SLOs" of Google's SRE workbook: the share of bad calls as a multiple of what the objective allows,
-- over the window and over a twelfth of it. Both must exceed the threshold, so the lesser of them is the value: the long
-- window shows that it matters, the short one that it still goes on.
create function observability_internal.measure_burn(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz
) returns table (group_key text, value numeric, sample_count bigint, evidence jsonb)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_rule observability_internal.alert_rules := rule;
  v_step constant integer := case when observability_internal.is_by_user(rule) then 900 else 60 end;
  v_short_s constant integer := greatest(v_step, rule.window_s / 12 / v_step * v_step);
  -- The window that the running minute ends is longer by it, and so is its short one.
  v_short_start constant timestamptz := window_start + make_interval(secs => rule.window_s - v_short_s);
begin
  v_rule.metric := case rule.metric
    when 'error_burn_rate' then 'error_rate' when 'route_error_burn_rate' then 'route_error_rate' else rule.metric
  end;
  return query
  select
    l.group_key, least(l.value, coalesce(s.value, 0)) / (1 - rule.objective), l.sample_count,
    jsonb_build_object(
      'objective', rule.objective::text, 'objective_ms', rule.objective_ms::text, 'short_window_s', v_short_s,
      'long', trim_scale(round(l.value / (1 - rule.objective), 6))::text,
      -- Without a call in the short window none was bad.
      'short', trim_scale(round(coalesce(s.value, 0) / (1 - rule.objective), 6))::text
    )
  from observability_internal.measure_base(v_rule, measure_burn.window_start, measure_burn.window_end) as l
  left join observability_internal.measure_base(v_rule, v_short_start, measure_burn.window_end) as s on l.group_key = s.group_key;
end;
$$;

comment on function observability_internal.measure_burn is
'How many times as fast as its objective allows a rule uses up its error budget, the lesser of two windows.';
revoke execute on function observability_internal.measure_burn from public;
grant execute on function observability_internal.measure_burn to authenticated, service_role;

create function observability_internal.check_conditions(
  rule observability_internal.alert_rules, window_start timestamptz, window_end timestamptz
) returns table (place bigint, group_key text, value numeric)
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule observability_internal.alert_rules := rule;
  v_condition record;
begin
  for v_condition in
    select c.condition ->> 'metric' as metric, c.place from jsonb_array_elements(rule.conditions) with ordinality as c (condition, place)
  loop
    v_rule.metric := v_condition.metric;
    return query
    select v_condition.place, m.group_key, m.value
    from observability_internal.measure_base(v_rule, check_conditions.window_start, check_conditions.window_end) as m;
  end loop;
end;
$$;

comment on function observability_internal.check_conditions is 'What the metrics of a rule''s conditions come to, by their place and group.';
revoke execute on function observability_internal.check_conditions from public;
grant execute on function observability_internal.check_conditions to authenticated, service_role;

create function observability_internal.judge_conditions(
  rule observability_internal.alert_rules, figures observability_internal.alert_figure[]
) returns setof observability_internal.alert_figure
language sql
stable
security invoker
set search_path = ''
as $$
  with windows as (
    select distinct f.window_start, date_trunc('minute', f.window_end + interval '59.999999 s') as window_end from unnest(figures) as f
  ),
  values_now as materialized (
    select w.window_start, v.place, v.group_key, v.value
    from windows as w
    cross join lateral observability_internal.check_conditions(rule, w.window_start, w.window_end) as v
  )
  select
    f.group_key, f.window_start, f.window_end, f.value, f.sample_count,
    f.evidence || jsonb_build_object('conditions', c.conditions, 'is_met', c.is_met)
  from unnest(figures) as f
  cross join lateral (
    select
      jsonb_agg(e.condition || jsonb_build_object('value', trim_scale(k.value)::text) order by e.place) as conditions,
      bool_and(coalesce(
        case e.condition ->> 'comparator'
          when 'above' then k.value > (e.condition ->> 'threshold')::numeric else k.value < (e.condition ->> 'threshold')::numeric
        end, false
      )) as is_met
    from jsonb_array_elements(rule.conditions) with ordinality as e (condition, place)
    cross join lateral (
      select coalesce(
        (
          select v.value from values_now as v
          where v.place = e.place and v.group_key = f.group_key and v.window_start = f.window_start
        ),
        -- No calls are zero of what is counted.
        case when observability_internal.metric_kinds() ->> (e.condition ->> 'metric') = 'amount' and f.sample_count = 0 then 0 end
      ) as value
    ) as k
  ) as c;
$$;

comment on function observability_internal.judge_conditions is
'The figures with what the rule''s conditions came to, {conditions, is_met} in their evidence.';
revoke execute on function observability_internal.judge_conditions from public;
grant execute on function observability_internal.judge_conditions to authenticated, service_role;
