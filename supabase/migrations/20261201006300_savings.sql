-- The evidence from which savings are worked out.
-- Locks: none; it only creates.

create function observability_internal.repeated_prefixes(
  from_time timestamptz, to_time timestamptz, filters jsonb
) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  with calls as (
    select m.provider, m.model, m.feature, m.prefix_hash, m.created_at, m.cached_tokens
    from observability_internal.ai_usage_metrics as m
    where m.created_at >= repeated_prefixes.from_time and m.created_at < repeated_prefixes.to_time
      -- Providers cache no prompt that is shorter, and a call that failed shows nothing.
      and m.prefix_hash is not null and m.prompt_tokens >= 1024 and m.status <> 'error'
      and (m.provider = any (observability_internal.filter_values(filters, 'provider'))) is not false
      and (m.model = any (observability_internal.filter_values(filters, 'model'))) is not false
      and (coalesce(m.feature, '') = any (observability_internal.filter_values(filters, 'feature'))) is not false
      and (m.environment = any (observability_internal.filter_values(filters, 'environment'))) is not false
      and (m.operation = any (observability_internal.filter_values(filters, 'operation'))) is not false
      and (m.status = any (observability_internal.filter_values(filters, 'status'))) is not false
    order by m.created_at desc
    limit 200000
  ),
  spaced as (
    select
      c.*,
      c.created_at - lag(c.created_at) over (partition by c.provider, c.model, c.prefix_hash order by c.created_at) as gap
    from calls as c
  ),
  -- A call that comes within five minutes finds the prefix in the cache, unless it comes before that was written.
  counted as (
    select
      s.provider, s.model, coalesce(s.feature, '') as feature, count(*) as requests,
      count(*) filter (where s.gap between interval '2 seconds' and interval '5 minutes') as repeats,
      count(*) filter (where s.gap between interval '2 seconds' and interval '5 minutes' and s.cached_tokens = 0) as missed,
      count(distinct s.prefix_hash) as prefixes, min(s.created_at) as first_at, max(s.created_at) as last_at
    from spaced as s
    group by 1, 2, 3
  )
  select coalesce(jsonb_agg(to_jsonb(c) order by c.missed desc, c.provider, c.model, c.feature), '[]')
  from counted as c;
$$;

comment on function observability_internal.repeated_prefixes is
'By provider, model and feature: calls with a prefix hash, those whose prefix came again within five minutes '
'(repeats), those of them that read nothing from the cache (missed).';
revoke execute on function observability_internal.repeated_prefixes from public;
grant execute on function observability_internal.repeated_prefixes to authenticated, service_role;

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
  v_access constant text := observability_internal.require_access('{analyst,ops,service}');
  v_from constant timestamptz := date_trunc('minute', get_savings_evidence.from_time);
  v_to constant timestamptz := date_trunc('minute', get_savings_evidence.to_time + interval '1 minute' - interval '1 microsecond');
  v_until constant timestamptz := least(v_to, clock_timestamp());
  v_sample_from constant timestamptz := greatest(v_from, v_until - interval '7 days');
  v_dims integer[];
begin
  perform observability_internal.check_filters(get_savings_evidence.from_time, get_savings_evidence.to_time, filters);
  if observability_internal.filter_values(filters, 'user_id') is not null then
    raise exception 'what one user uses is too little to conclude savings from' using errcode = '22023';
  end if;
  v_dims := observability_internal.resolve_dimensions(filters);
  return jsonb_build_object(
    'access', case when v_access = 'service' then 'ops' else v_access end, 'from_time', v_from, 'to_time', v_to,
    'sample_from_time', v_sample_from, 'sample_to_time', v_until, 'generated_at', clock_timestamp(),
    'groups', (
      select coalesce(jsonb_agg(to_jsonb(g) || jsonb_build_object('cost', g.cost::text) order by g.cost desc), '[]')
      from (
        select
          d.provider, d.model, d.feature, sum(c.requests) as requests, sum(c.prompt_tokens) as prompt_tokens,
          sum(c.completion_tokens) as completion_tokens, sum(c.cached_tokens) as cached_tokens,
          sum(c.cache_write_tokens) as cache_write_tokens, sum(c.reasoning_tokens) as reasoning_tokens,
          sum(c.audio_input_tokens) as audio_input_tokens, sum(c.audio_output_tokens) as audio_output_tokens,
          sum(c.cost) as cost, sum(c.unpriced_requests) as unpriced_requests,
          sum(c.fallback_requests) as fallback_requests, sum(c.estimated_requests) as estimated_requests,
          count(distinct (c.bucket at time zone 'UTC')::date) as days
        from observability_internal.alert_cells(v_dims, v_from, v_to) as c
        inner join observability_internal.dimensions as d on c.dim_id = d.dim_id
        where d.status <> 'error'
        group by d.provider, d.model, d.feature
        order by sum(c.cost) desc, d.provider, d.model, d.feature
        limit 1000
      ) as g
    ),
    'prefixes', case when v_sample_from < v_to
      then observability_internal.repeated_prefixes(v_sample_from, v_to, filters) else '[]'::jsonb end
  );
end;
$$;

comment on function observability.get_savings_evidence is
'What suggestions are computed from: {groups by provider, model and feature; prefixes: repeats and misses of the last'
' 7 days at most}. Analysts and ops.';
revoke execute on function observability.get_savings_evidence from public;
grant execute on function observability.get_savings_evidence to authenticated, service_role;
