-- The evidence from which savings are worked out.
-- Locks: none; it only creates.

create function observability_internal.facts_of(day_from date, day_to date, access text)
returns setof observability_internal.saving_facts
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
rows 5000
as $$
declare
  -- What is not judged yet is judged on the spot, newest first, as far as that takes a second or so.
  v_most constant bigint := 200000;
  v_days date[];
  v_first date;
  v_end date;
begin
  if access in ('member', 'tenant') then
    -- Their own calls alone, which the table does not tell apart: row level security finds them.
    v_days := array(select g::date from generate_series(greatest(day_from, day_to - 7), day_to - 1, interval '1 day') as g);
  else
    return query
    select f.* from observability_internal.saving_facts as f where f.day >= day_from and f.day < day_to;
    v_days := array(
      select w.day
      from (
        select c.day, sum(c.calls) over (order by c.day desc) as until_here
        from (
          select (r.bucket at time zone 'UTC')::date as day, sum(r.requests) as calls
          from observability_internal.alert_cells(null, day_from::timestamptz, day_to::timestamptz) as r
          group by 1
        ) as c
        where not exists (select from observability_internal.saving_days as d where d.day = c.day)
      ) as w
      where w.until_here <= v_most
    );
  end if;
  -- Days that follow each other at once: a text may have been embedded on an earlier one.
  for v_first, v_end in
    select min(r.day), max(r.day) + 1
    from (select d.day, d.day - row_number() over (order by d.day)::integer as run from unnest(v_days) as d (day)) as r
    group by r.run
  loop
    return query select * from observability_internal.judge_calls(v_first::timestamptz, v_end::timestamptz);
  end loop;
end;
$$;

comment on function observability_internal.facts_of is 'The facts of whole days: kept ones, and those of days that are not judged yet.';
revoke execute on function observability_internal.facts_of from public;
grant execute on function observability_internal.facts_of to authenticated, service_role;

create function observability_internal.sum_facts(day_from date, day_to date, filters jsonb, access text) returns jsonb
language sql
stable
security invoker
set search_path = ''
set work_mem = '32MB'
as $$
  with asked as materialized (
    select a.* from observability_internal.asked_dimensions(filters) as a
  ),
  chosen as (
    select f.*
    from observability_internal.facts_of(day_from, day_to, access) as f
    where not exists (
      select from asked as a
      where not observability_internal.is_left(
        case a.name
          when 'provider' then f.provider when 'model' then f.model when 'feature' then f.feature
          when 'environment' then f.environment else f.operation
        end, a.only_values, a.excluded
      )
    )
  ),
  by_day as (
    select
      c.day, c.provider, c.model, c.feature, c.operation, c.service_tier, c.band, c.waste, sum(c.calls) as calls,
      sum(c.prompt_tokens) as prompt_tokens, sum(c.completion_tokens) as completion_tokens,
      sum(c.cached_tokens) as cached_tokens, sum(c.cache_write_tokens) as cache_write_tokens,
      sum(c.cache_write_1h_tokens) as cache_write_1h_tokens, sum(c.reasoning_tokens) as reasoning_tokens,
      sum(c.cost) as cost, sum(c.missed_5_tokens) as missed_5_tokens, sum(c.missed_10_tokens) as missed_10_tokens,
      sum(c.missed_60_tokens) as missed_60_tokens, sum(c.first_tokens) as first_tokens,
      sum(c.excess_prompt_tokens) as excess_prompt_tokens, sum(c.excess_output_tokens) as excess_output_tokens,
      sum(c.excess_reasoning_tokens) as excess_reasoning_tokens, sum(c.short_lived_tokens) as short_lived_tokens,
      sum(c.cut_off) as cut_off, sum(c.regenerated) as regenerated, sum(c.continued) as continued, sum(c.tool_retries) as tool_retries, sum(c.liked) as liked,
      sum(c.disliked) as disliked, (array_agg(c.example_event_id order by c.cost desc))[1] as example_event_id
    from chosen as c
    group by c.day, c.provider, c.model, c.feature, c.operation, c.service_tier, c.band, c.waste
  ),
  facts as (
    select
      b.provider, b.model, b.feature, b.operation, b.service_tier, b.band, b.waste, count(*) as days,
      sum(b.calls) as calls, sum(b.prompt_tokens) as prompt_tokens, sum(b.completion_tokens) as completion_tokens,
      sum(b.cached_tokens) as cached_tokens, sum(b.cache_write_tokens) as cache_write_tokens,
      sum(b.cache_write_1h_tokens) as cache_write_1h_tokens, sum(b.reasoning_tokens) as reasoning_tokens,
      sum(b.cost)::text as cost, sum(b.cost * b.cost)::text as cost_squares, sum(b.missed_5_tokens) as missed_5_tokens,
      sum(b.missed_10_tokens) as missed_10_tokens, sum(b.missed_60_tokens) as missed_60_tokens,
      sum(b.first_tokens) as first_tokens, sum(b.excess_prompt_tokens) as excess_prompt_tokens,
      sum(b.excess_output_tokens) as excess_output_tokens, sum(b.excess_reasoning_tokens) as excess_reasoning_tokens,
      sum(b.short_lived_tokens) as short_lived_tokens, sum(b.cut_off) as cut_off, sum(b.regenerated) as regenerated,
      sum(b.continued) as continued, sum(b.tool_retries) as tool_retries, sum(b.liked) as liked, sum(b.disliked) as disliked,
      (array_agg(b.example_event_id order by b.cost desc))[1] as example_event_id
    from by_day as b
    group by b.provider, b.model, b.feature, b.operation, b.service_tier, b.band, b.waste
  )
  select jsonb_build_object(
    'days', (select coalesce(jsonb_agg(distinct b.day order by b.day), '[]') from by_day as b),
    'facts', (
      select coalesce(jsonb_agg(to_jsonb(f) order by f.provider, f.model, f.feature, f.operation, f.service_tier, f.band, f.waste), '[]')
      from facts as f
    )
  );
$$;

comment on function observability_internal.sum_facts is
'Facts of whole days summed over them, with the sum of the squares of each day''s cost, and the days that had any.';
revoke execute on function observability_internal.sum_facts from public;
grant execute on function observability_internal.sum_facts to authenticated, service_role;

create function observability_internal.largest_users(day_from date, day_to date) returns jsonb
language sql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object('cost', t.cost::text) order by t.cost desc), '[]')
  from (
    select u.user_id, sum(r.cost) as cost, sum(r.requests) as requests
    from observability_internal.users_of_days as r
    inner join observability_internal.users as u using (user_key)
    where r.bucket >= day_from and r.bucket < day_to
    group by u.user_id
    having sum(r.cost) > 0
    order by sum(r.cost) desc, u.user_id
    limit 3
  ) as t;
$$;

comment on function observability_internal.largest_users is 'The three users with the largest cost of whole UTC days that are condensed.';
revoke execute on function observability_internal.largest_users from public;
grant execute on function observability_internal.largest_users to authenticated, service_role;

create function observability.get_savings_evidence(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set jit = off
set timezone = 'UTC'
as $$
declare
  -- Whole UTC days that are over.
  v_from constant date := (get_savings_evidence.from_time + interval '1 day' - interval '1 microsecond')::date;
  v_to constant date := least(get_savings_evidence.to_time::date, current_date);
  v_unsplit constant text[] := array['user_id', 'status', 'metadata', 'tenant_id', 'tags'];
  v_scope observability_internal.read_scope;
  v_sums observability_internal.usage_sum[] := array[]::observability_internal.usage_sum[];
  v_facts jsonb := jsonb_build_object('days', jsonb_build_array(), 'facts', jsonb_build_array());
begin
  v_scope := observability_internal.make_scope(
    get_savings_evidence.from_time, get_savings_evidence.to_time, get_savings_evidence.filters || '{"timezone": "UTC", "bucket": "day"}'
  );
  if filters ?| v_unsplit or filters -> 'not' ?| v_unsplit then
    raise exception 'savings are told apart by provider, model, feature, environment and operation only' using errcode = '22023';
  end if;
  if v_from < v_to then
    v_scope := observability_internal.make_page_scope(v_from, v_to, filters || '{"timezone": "UTC", "bucket": "day"}');
    v_sums := (observability_internal.read_usage(v_scope, null)).sums;
    v_facts := observability_internal.sum_facts(v_from, v_to, filters, v_scope.access);
  end if;
  return jsonb_build_object(
    'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end,
    'from_time', v_from::timestamptz, 'to_time', greatest(v_from, v_to)::timestamptz, 'generated_at', clock_timestamp(),
    'spend', (select coalesce(sum(s.cost), 0)::text from unnest(v_sums) as s where s.is_current),
    'requests', (select coalesce(sum(s.requests), 0) from unnest(v_sums) as s where s.is_current),
    'users', case when v_scope.access in ('member', 'tenant') then null else observability_internal.largest_users(v_from, v_to) end
  ) || v_facts;
end;
$$;

comment on function observability.get_savings_evidence is
'What suggestions are computed from: {spend, requests, days, facts} of the whole UTC days of a range. Members get their'
' own calls of the last seven.';
revoke execute on function observability.get_savings_evidence from public;
grant execute on function observability.get_savings_evidence to authenticated, service_role;
