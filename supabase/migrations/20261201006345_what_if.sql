-- The calls that a what-if prices anew, summed by what their price depends on.
-- Locks: none; it only creates.

-- As judge_calls groups prompts: a test compares both. Thresholds of long-context prices, and 32,000 and 128,000.
create function observability_internal.input_band(prompt_tokens bigint) returns integer
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when prompt_tokens > 272000 then 272000 when prompt_tokens > 256000 then 256000 when prompt_tokens > 200000 then 200000
    when prompt_tokens > 128000 then 128000 when prompt_tokens > 32000 then 32000 else 0
  end;
$$;

comment on function observability_internal.input_band is 'The largest of 0, 32,000, 128,000, 200,000, 256,000 and 272,000 tokens that a prompt is longer than.';
revoke execute on function observability_internal.input_band from public;
grant execute on function observability_internal.input_band to authenticated, service_role;

create type observability_internal.calls_to_price as (
  day date,
  provider text,
  model text,
  feature text,
  environment text,
  operation text,
  service_tier text,
  band integer,
  waste integer,
  calls bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  cache_write_1h_tokens bigint,
  reasoning_tokens bigint,
  cost numeric,
  excess_prompt_tokens bigint,
  excess_output_tokens bigint,
  excess_reasoning_tokens bigint,
  missed_10_tokens bigint,
  short_lived_tokens bigint
);

comment on type observability_internal.calls_to_price is 'The columns of saving_facts that a price depends on.';

-- The rollups know neither tier nor length of input of a user's calls, so these are read one by one, and are not judged.
create function observability_internal.user_calls_to_price(day_from date, day_to date, user_ids text[])
returns setof observability_internal.calls_to_price
language plpgsql
stable
security invoker
set search_path = ''
set timezone = 'UTC'
rows 1000
as $$
begin
  if (
    select coalesce(sum(r.requests), 0) > 300000
    from observability_internal.usage_by_user as r
    inner join observability_internal.users as u using (user_key)
    where u.user_id = any (user_ids) and r.bucket >= day_from and r.bucket < day_to
  ) then
    raise exception 'a what-if of users reads their calls one by one: at most 300,000, choose a shorter period' using errcode = '22023';
  end if;
  return query
  select
    m.created_at::date, m.provider, m.model, coalesce(m.feature, ''), m.environment, m.operation,
    coalesce(lower(m.service_tier), ''), observability_internal.input_band(m.prompt_tokens),
    case
      when m.audio_input_tokens + m.audio_output_tokens > 0 or m.request_fees is not null
        or (m.usage_details - 'cache_write_1h_tokens' - 'reported_cost') not in ('{}') then 512 else 0
    end,
    count(*), sum(m.prompt_tokens)::bigint, sum(m.completion_tokens)::bigint, sum(m.cached_tokens)::bigint,
    sum(m.cache_write_tokens)::bigint, coalesce(sum((m.usage_details ->> 'cache_write_1h_tokens')::bigint), 0)::bigint,
    sum(m.reasoning_tokens)::bigint, sum(m.estimated_cost), 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint
  from observability_internal.ai_usage_metrics as m
  where m.user_id = any (user_ids) and m.created_at >= day_from and m.created_at < day_to
    and m.cost_source in ('priced', 'provider') and m.estimated_cost > 0
  group by 1, 2, 3, 4, 5, 6, 7, 8, 9;
end;
$$;

comment on function observability_internal.user_calls_to_price is
'Calls of chosen users with a certain price; refuses (22023) more than 300,000.';
revoke execute on function observability_internal.user_calls_to_price from public;
grant execute on function observability_internal.user_calls_to_price to authenticated, service_role;

create function observability_internal.all_calls_to_price(day_from date, day_to date, access text)
returns setof observability_internal.calls_to_price
language sql
stable
security invoker
set search_path = ''
rows 5000
as $$
  select
    f.day, f.provider, f.model, f.feature, f.environment, f.operation, f.service_tier, f.band, f.waste, f.calls,
    f.prompt_tokens, f.completion_tokens, f.cached_tokens, f.cache_write_tokens, f.cache_write_1h_tokens,
    f.reasoning_tokens, f.cost, f.excess_prompt_tokens, f.excess_output_tokens, f.excess_reasoning_tokens, f.missed_10_tokens,
    f.short_lived_tokens
  from observability_internal.facts_of(day_from, day_to, access) as f;
$$;

comment on function observability_internal.all_calls_to_price is 'Facts of whole days without what only the plan needs.';
revoke execute on function observability_internal.all_calls_to_price from public;
grant execute on function observability_internal.all_calls_to_price to authenticated, service_role;

create function observability_internal.sum_calls_to_price(
  day_from date, day_to date, filters jsonb, access text, user_ids text[]
) returns jsonb
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
    select c.*
    from (
      select u.* from observability_internal.user_calls_to_price(day_from, day_to, user_ids) as u where user_ids is not null
      union all
      select a.* from observability_internal.all_calls_to_price(day_from, day_to, access) as a where user_ids is null
    ) as c
    where not exists (
      select from asked as a
      where not observability_internal.is_left(
        case a.name
          when 'provider' then c.provider when 'model' then c.model when 'feature' then c.feature
          when 'environment' then c.environment else c.operation
        end, a.only_values, a.excluded
      )
    )
  ),
  sums as (
    select
      c.provider, c.model, c.service_tier, c.band, c.waste, sum(c.calls) as calls, sum(c.prompt_tokens) as prompt_tokens,
      sum(c.completion_tokens) as completion_tokens, sum(c.cached_tokens) as cached_tokens,
      sum(c.cache_write_tokens) as cache_write_tokens, sum(c.cache_write_1h_tokens) as cache_write_1h_tokens,
      sum(c.reasoning_tokens) as reasoning_tokens, sum(c.cost)::text as cost,
      sum(c.excess_prompt_tokens) as excess_prompt_tokens, sum(c.excess_output_tokens) as excess_output_tokens,
      sum(c.excess_reasoning_tokens) as excess_reasoning_tokens, sum(c.missed_10_tokens) as missed_10_tokens,
      sum(c.short_lived_tokens) as short_lived_tokens
    from chosen as c
    group by c.provider, c.model, c.service_tier, c.band, c.waste
  )
  select jsonb_build_object(
    'days', (select coalesce(jsonb_agg(distinct c.day order by c.day), '[]') from chosen as c),
    'calls', (
      select coalesce(jsonb_agg(to_jsonb(s) order by s.provider, s.model, s.service_tier, s.band, s.waste), '[]') from sums as s
    )
  );
$$;

comment on function observability_internal.sum_calls_to_price is
'Calls of whole days summed by provider, model, tier, band of input length and judgement: {days, calls}.';
revoke execute on function observability_internal.sum_calls_to_price from public;
grant execute on function observability_internal.sum_calls_to_price to authenticated, service_role;

create function observability.get_calls_to_price(from_time timestamptz, to_time timestamptz, filters jsonb default '{}')
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
  -- Whole UTC days that are over, as the plan's.
  v_from constant date := (get_calls_to_price.from_time + interval '1 day' - interval '1 microsecond')::date;
  v_to constant date := least(get_calls_to_price.to_time::date, current_date);
  v_asked constant jsonb := get_calls_to_price.filters || '{"timezone": "UTC", "bucket": "day"}';
  v_scope observability_internal.read_scope := observability_internal.make_scope(
    get_calls_to_price.from_time, get_calls_to_price.to_time, v_asked
  );
  v_sums observability_internal.usage_sum[] := array[]::observability_internal.usage_sum[];
  v_calls jsonb := jsonb_build_object('days', jsonb_build_array(), 'calls', jsonb_build_array());
begin
  if filters ?| array['status', 'metadata', 'tenant_id', 'tags']
    or filters -> 'not' ?| array['status', 'metadata', 'tenant_id', 'tags', 'user_id'] then
    raise exception 'a what-if is about a provider, model, feature, environment, operation or user' using errcode = '22023';
  end if;
  if v_from < v_to then
    v_scope := observability_internal.make_page_scope(v_from, v_to, v_asked);
    v_sums := (observability_internal.read_usage(v_scope, null)).sums;
    v_calls := observability_internal.sum_calls_to_price(
      v_from, v_to, filters, v_scope.access, observability_internal.filter_values(filters, 'user_id')
    );
  end if;
  return jsonb_build_object(
    'access', case when v_scope.access = 'service' then 'ops' else v_scope.access end,
    'from_time', v_from::timestamptz, 'to_time', greatest(v_from, v_to)::timestamptz, 'generated_at', clock_timestamp(),
    'cost', (select coalesce(sum(s.cost), 0)::text from unnest(v_sums) as s where s.is_current),
    -- Tokens only where all calls of the dimensions are of one kind: the rollups do not tell them apart.
    'uncertain', (
      select coalesce(jsonb_agg(to_jsonb(u) order by u.source, u.provider, u.model), '[]')
      from (
        select
          k.source, d.provider, d.model, sum(k.calls) as calls, sum(k.cost)::text as cost,
          case when bool_and(k.calls = s.requests) then sum(s.prompt_tokens) end as prompt_tokens,
          case when bool_and(k.calls = s.requests) then sum(s.completion_tokens) end as completion_tokens,
          case when bool_and(k.calls = s.requests) then sum(s.cached_tokens) end as cached_tokens
        from unnest(v_sums) as s
        inner join observability_internal.dimensions as d using (dim_id)
        cross join lateral (
          values ('fallback', s.fallback_requests, s.fallback_cost), ('unpriced', s.unpriced_requests, null)
        ) as k (source, calls, cost)
        where s.is_current and k.calls > 0
        group by k.source, d.provider, d.model
      ) as u
    )
  ) || v_calls;
end;
$$;

comment on function observability.get_calls_to_price is
'What a what-if prices anew: {days, calls, uncertain, cost} of the whole UTC days of a range; `uncertain` are calls at the'
' fallback price and without one. Members and tenants get their own calls of the last seven days.';
revoke execute on function observability.get_calls_to_price from public;
grant execute on function observability.get_calls_to_price to authenticated, service_role;
