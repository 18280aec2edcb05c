-- Splits the difference between bill and record into causes whose amounts add up to it exactly.
-- Locks: none; it only creates.

create type observability_internal.drift_model as (
  day date,
  family text,
  billed_cost numeric,
  rounding_bound numeric,
  is_measured boolean,
  billed_requests bigint,
  requests bigint,
  failed_requests bigint,
  cost numeric,
  failed_cost numeric,
  unpriced_requests bigint,
  fallback_requests bigint,
  fallback_cost numeric,
  volume numeric,
  failed_volume numeric,
  recorded_at_bill numeric
);

comment on type observability_internal.drift_model is
'One model family on one UTC day: bill, record without fees and credits, and the volume between them at the bill''s '
'prices.';

create type observability_internal.drift_part as (
  day date,
  family text,
  item text,
  cause text,
  name text,
  amount numeric,
  requests bigint
);

comment on type observability_internal.drift_part is 'A part of the drift in US dollars, its cause, and the name of what it is about.';

-- A project counts as unrecorded when, on each day and for each model that it used, at least its whole volume is missing.
-- Where several explain the same gap nobody can tell which it is, and none is named.
create function observability_internal.unrecorded_projects(
  lines observability_internal.provider_costs[], recorded observability_internal.recorded_day[]
) returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  with used as (
    select
      l.day, l.family, l.project_id,
      sum(l.requests) filter (where l.kind = 'usage') as requests,
      coalesce(
        sum(l.tokens) filter (where l.kind = 'cost' and l.charge = 'usage'),
        sum(coalesce(l.input_tokens, 0) + coalesce(l.output_tokens, 0)) filter (where l.kind = 'usage')
      ) as tokens
    from unnest(lines) as l
    where l.model <> '' and (l.kind = 'usage' or l.charge = 'usage')
    group by 1, 2, 3
  ),
  kept as (
    select
      r.day, r.family, sum(r.requests) as requests,
      sum(r.prompt_tokens + r.completion_tokens) as tokens
    from unnest(recorded) as r
    where not r.is_failed
    group by 1, 2
  ),
  gaps as (
    select
      u.day, u.family, u.project_id,
      case when bool_and(u.requests > 0) over w then u.requests else u.tokens end as volume,
      case
        when bool_and(u.requests > 0) over w then sum(u.requests) over w - coalesce(k.requests, 0)
        else sum(u.tokens) over w - coalesce(k.tokens, 0)
      end as gap
    from used as u
    left join kept as k on u.day = k.day and u.family = k.family
    window w as (partition by u.day, u.family)
  ),
  fitting as (
    select g.project_id
    from gaps as g
    group by g.project_id
    having g.project_id <> '' and coalesce(bool_and(g.volume > 0 and g.gap >= 0.98 * g.volume), false)
  ),
  clashes as (
    select from gaps as g
    inner join fitting as f using (project_id)
    group by g.day, g.family
    having sum(g.volume) * 0.98 > max(g.gap)
  )
  select coalesce(array_agg(f.project_id), '{}')
  from fitting as f
  where not exists (select from clashes)
    and exists (select from gaps as g where g.project_id not in (select o.project_id from fitting as o));
$$;

comment on function observability_internal.unrecorded_projects is
'The projects on the bill whose calls are not recorded, concluded from requests, else tokens.';
revoke execute on function observability_internal.unrecorded_projects from public;
grant execute on function observability_internal.unrecorded_projects to authenticated, service_role;

create function observability_internal.drift_models(
  items observability_internal.drift_item[], lines observability_internal.provider_costs[],
  recorded observability_internal.recorded_day[]
) returns setof observability_internal.drift_model
language sql
stable
security invoker
set search_path = ''
as $$
  with priced as (
    select
      i.*, i.billed_cost / nullif(i.billed_tokens, 0) as price,
      least(greatest(i.billed_tokens - i.recorded_tokens, 0), i.failed_tokens) as failed_billed
    from unnest(items) as i
  ),
  billed as (
    select
      p.day, p.family, sum(p.billed_cost) as cost, sum(p.rounding_bound) as bound, sum(p.recorded_tokens) as tokens,
      sum(p.failed_tokens) as failed_tokens,
      coalesce(bool_and(p.billed_tokens > 0) filter (where p.billed_cost <> 0), bool_or(p.billed_tokens > 0)) as is_measured,
      coalesce(sum(round((p.billed_tokens - p.recorded_tokens - p.failed_billed) * p.price, 12)), 0) as volume,
      coalesce(sum(round(p.failed_billed * p.price, 12)), 0) as failed,
      coalesce(sum(round(p.recorded_tokens * p.price, 12)), 0) as at_bill
    from priced as p
    group by p.day, p.family
  ),
  counted as (
    select l.day, l.family, sum(l.requests)::bigint as requests
    from unnest(lines) as l
    where l.kind = 'usage' and l.model <> ''
    group by 1, 2
  ),
  kept as (
    select
      r.day, r.family, coalesce(sum(r.requests) filter (where not r.is_failed), 0)::bigint as requests,
      coalesce(sum(r.requests) filter (where r.is_failed and r.prompt_tokens + r.completion_tokens > 0), 0)::bigint as failed,
      coalesce(sum(r.cost - r.fees - r.credits) filter (where not r.is_failed), 0) as cost,
      coalesce(sum(r.cost - r.fees - r.credits) filter (where r.is_failed), 0) as failed_cost,
      coalesce(sum(r.unpriced_requests) filter (where not r.is_failed), 0)::bigint as unpriced,
      coalesce(sum(r.fallback_requests) filter (where not r.is_failed), 0)::bigint as fallback,
      coalesce(sum(r.fallback_cost) filter (where not r.is_failed), 0) as fallback_cost
    from unnest(recorded) as r
    group by 1, 2
  )
  select
    coalesce(b.day, k.day), coalesce(b.family, k.family), b.cost, coalesce(b.bound, 0), coalesce(b.is_measured, false),
    c.requests, coalesce(k.requests, 0), coalesce(k.failed, 0), coalesce(k.cost, 0), coalesce(k.failed_cost, 0),
    coalesce(k.unpriced, 0), coalesce(k.fallback, 0), coalesce(k.fallback_cost, 0), coalesce(b.volume, 0),
    coalesce(b.failed, 0), coalesce(b.at_bill, 0)
  from billed as b
  full join kept as k on b.day = k.day and b.family = k.family
  left join counted as c on coalesce(b.day, k.day) = c.day and coalesce(b.family, k.family) = c.family;
$$;

comment on function observability_internal.drift_models is
'Bill and record by UTC day and model family, with the volume difference where both sides'' tokens are known.';
revoke execute on function observability_internal.drift_models from public;
grant execute on function observability_internal.drift_models to authenticated, service_role;

-- Without tokens on the bill, requests tell the volume; without either only what is recorded can be blamed.
create function observability_internal.estimate_volumes(models observability_internal.drift_model[])
returns setof observability_internal.drift_model
language sql
stable
security invoker
set search_path = ''
as $$
  with counted as (
    select
      m.*, least(greatest(m.billed_requests - m.requests, 0), m.failed_requests) as failed_billed,
      m.billed_requests - m.requests as missing, m.requests = 0 and m.cost = 0 as is_unrecorded
    from unnest(models) as m
  ),
  valued as (
    select
      c.*,
      case
        when c.billed_cost is null then -c.cost
        when c.is_measured then c.volume
        when c.is_unrecorded then c.billed_cost
        when c.missing > 0 then round(c.billed_cost * (c.missing - c.failed_billed) / c.billed_requests, 12)
        when c.missing < 0 then round(c.cost * c.missing / c.requests, 12)
        else 0
      end as volume_cost,
      case
        when c.billed_cost is null or c.is_measured then c.failed_volume
        when c.missing > 0 and not c.is_unrecorded then round(c.billed_cost * c.failed_billed / c.billed_requests, 12)
        else 0
      end as failed_cost_at_bill
    from counted as c
  )
  select
    v.day, v.family, v.billed_cost, v.rounding_bound, v.is_measured, v.billed_requests, v.requests,
    case when v.failed_cost_at_bill <> 0 then v.failed_billed end, v.cost, v.failed_cost, v.unpriced_requests,
    v.fallback_requests, v.fallback_cost, v.volume_cost, v.failed_cost_at_bill,
    case
      when v.billed_cost is null then 0
      when v.is_measured then v.recorded_at_bill
      else v.billed_cost - v.volume_cost - v.failed_cost_at_bill
    end
  from valued as v;
$$;

comment on function observability_internal.estimate_volumes is 'The models with a volume difference for each: by tokens, else by requests, else none.';
revoke execute on function observability_internal.estimate_volumes from public;
grant execute on function observability_internal.estimate_volumes to authenticated, service_role;

create function observability_internal.model_parts(models observability_internal.drift_model[])
returns setof observability_internal.drift_part
language sql
stable
security invoker
set search_path = ''
as $$
  with shares as (
    select
      m.*, m.failed_volume - m.failed_cost as failed,
      round(m.recorded_at_bill * m.unpriced_requests / nullif(m.requests, 0), 12) as unpriced,
      case when m.fallback_requests > 0 and m.billed_cost is not null
        then round(m.recorded_at_bill * m.fallback_requests / nullif(m.requests, 0) - m.fallback_cost, 12) end as fallback,
      coalesce(m.billed_cost, 0) - m.cost - m.failed_cost as drift
    from unnest(models) as m
  ),
  lefts as (
    select s.*, s.drift - s.volume - s.failed - coalesce(s.unpriced, 0) - coalesce(s.fallback, 0) as left_over
    from shares as s
  ),
  -- What the division rounded belongs to the volume; it is no price.
  rests as (
    select l.*, l.volume + n.noise as whole_volume, l.left_over - n.noise as rest
    from lefts as l
    cross join lateral (
      values (case when l.volume <> 0 and abs(l.left_over) < 1e-9 then l.left_over else 0 end)
    ) as n (noise)
  ),
  parts as (
    select
      r.day, r.family, r.rounding_bound, p.requests, p.amount,
      -- A part within what the bill's own rounding can make is nobody's.
      case when abs(p.amount) <= r.rounding_bound or abs(r.drift) <= r.rounding_bound then 'rounding' else p.cause end as cause
    from rests as r
    cross join lateral (values
      (case when r.whole_volume > 0 then 'calls_not_recorded' else 'calls_not_billed' end, r.whole_volume,
        case
          when r.billed_cost is null then r.requests
          when r.volume > 0 then nullif(greatest(r.billed_requests - r.requests - coalesce(r.failed_requests, 0), 0), 0)
          else nullif(greatest(r.requests - r.billed_requests, 0), 0)
        end),
      ('failed_calls', r.failed, r.failed_requests), ('unpriced_models', r.unpriced, r.unpriced_requests),
      ('fallback_prices', r.fallback, r.fallback_requests),
      (case when r.is_measured then 'price' else 'unexplained' end, r.rest, null)
    ) as p (cause, amount, requests)
    where p.amount <> 0
  )
  select
    p.day, p.family, '', p.cause, p.family, sum(p.amount),
    case when p.cause <> 'rounding' then sum(p.requests)::bigint end
  from parts as p
  group by p.day, p.family, p.cause
  having sum(p.amount) <> 0;
$$;

comment on function observability_internal.model_parts is
'The parts of each model''s drift: volume, failed calls, prices that the record lacks, and what is left: the price.';
revoke execute on function observability_internal.model_parts from public;
grant execute on function observability_internal.model_parts to authenticated, service_role;

-- Lines that name neither model nor service stand for whatever was recorded of models that no line names.
create function observability_internal.unsplit_parts(
  lines observability_internal.provider_costs[], models observability_internal.drift_model[]
) returns setof observability_internal.drift_part
language sql
stable
security invoker
set search_path = ''
as $$
  with unsplit as (
    select l.day, sum(l.amount) as amount, sum(observability_internal.rounding_bound(l.amount)) as bound
    from unnest(lines) as l
    where l.kind = 'cost' and l.charge = 'usage' and l.model = '' and l.amount <> 0
    group by l.day
  ),
  rests as (
    select u.day, u.bound, u.amount - coalesce(sum(m.cost + m.failed_cost), 0) as amount
    from unsplit as u
    left join unnest(models) as m on u.day = m.day and m.billed_cost is null
    group by u.day, u.bound, u.amount
  )
  select
    r.day, '', '', case when abs(r.amount) <= r.bound then 'rounding' else 'unexplained' end, null::text, r.amount,
    null::bigint
  from rests as r
  where r.amount <> 0;
$$;

comment on function observability_internal.unsplit_parts is 'The drift of each day''s amounts that name no model.';
revoke execute on function observability_internal.unsplit_parts from public;
grant execute on function observability_internal.unsplit_parts to authenticated, service_role;

create function observability_internal.charge_parts(
  lines observability_internal.provider_costs[], recorded observability_internal.recorded_day[]
) returns setof observability_internal.drift_part
language sql
stable
security invoker
set search_path = ''
as $$
  select
    l.day, l.family, l.item,
    case l.charge
      when 'fee' then 'fees' when 'credit' then 'credits' when 'tax' then 'taxes' when 'purchase' then 'purchases'
      else 'adjustments'
    end, coalesce(nullif(l.line_item, ''), l.charge), sum(l.amount), null::bigint
  from unnest(lines) as l
  where l.kind = 'cost' and l.charge <> 'usage'
  group by 1, 2, 3, 4, 5
  having sum(l.amount) <> 0
  union all
  select r.day, r.family, '', e.cause, r.family, -sum(e.amount), null
  from unnest(recorded) as r
  cross join lateral (values ('fees', r.fees), ('credits', r.credits)) as e (cause, amount)
  where e.amount <> 0
  group by r.day, r.family, e.cause;
$$;

comment on function observability_internal.charge_parts is
'The drift in what is not tokens: fees, credits, adjustments, taxes and purchases, less what was recorded of them.';
revoke execute on function observability_internal.charge_parts from public;
grant execute on function observability_internal.charge_parts to authenticated, service_role;

create function observability_internal.drift_parts(
  lines observability_internal.provider_costs[], recorded observability_internal.recorded_day[]
) returns setof observability_internal.drift_part
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_projects constant text[] := observability_internal.unrecorded_projects(lines, recorded);
  v_lines constant observability_internal.provider_costs[] := array(
    select l from unnest(lines) as l where l.project_id <> all (v_projects)
  );
  v_models constant observability_internal.drift_model[] := array(
    select m
    from observability_internal.estimate_volumes(array(
      select e
      from observability_internal.drift_models(
        array(select i from observability_internal.drift_items(v_lines, recorded) as i), v_lines, recorded
      ) as e
    )) as m
  );
  v_unsplit constant date[] := array(
    select distinct l.day
    from unnest(v_lines) as l
    where l.kind = 'cost' and l.charge = 'usage' and l.model = '' and l.amount <> 0
  );
begin
  return query
  with parts as (
    select p.*
    from observability_internal.model_parts(array(
      select m from unnest(v_models) as m where m.billed_cost is not null or m.day <> all (v_unsplit)
    )) as p
    union all
    select p.* from observability_internal.unsplit_parts(v_lines, v_models) as p
    union all
    select p.* from observability_internal.charge_parts(v_lines, recorded) as p
    union all
    select l.day, '', '', 'unrecorded_projects', l.project_id, sum(l.amount), nullif(sum(l.requests), 0)::bigint
    from unnest(lines) as l
    where l.project_id = any (v_projects)
    group by l.day, l.project_id
    having sum(l.amount) <> 0
  ),
  bounds as (
    select l.day, sum(observability_internal.rounding_bound(l.amount)) as bound
    from unnest(lines) as l
    where l.kind = 'cost'
    group by l.day
  ),
  drifts as (
    select p.day, sum(p.amount) as drift, abs(sum(p.amount)) > coalesce(max(b.bound), 0) as is_real
    from parts as p
    left join bounds as b using (day)
    group by p.day
  )
  select p.* from parts as p inner join drifts as d using (day) where d.is_real
  union all
  -- A day that agrees names no cause.
  select d.day, '', '', 'rounding', null, d.drift, null from drifts as d where not d.is_real and d.drift <> 0;
end;
$$;

comment on function observability_internal.drift_parts is 'The parts of the drift of the days of these lines and records; they add up to it exactly.';
revoke execute on function observability_internal.drift_parts from public;
grant execute on function observability_internal.drift_parts to authenticated, service_role;
