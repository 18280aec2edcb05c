-- Terms of contracts: discounts, credits, commitments, provisioned throughput and display currencies, with dates.
-- Recorded costs stay at list; what is paid is worked out from sums by day when somebody asks.
-- Locks: none; it only creates.

create table observability_internal.commercial_terms (
  term_id bigint generated always as identity,
  kind text not null,
  valid_from date not null,
  valid_to date,
  provider text,
  model text,
  percent numeric,
  amount numeric,
  currency text,
  rate numeric,
  name text not null default '',
  source text not null,
  created_at timestamptz not null default now(),
  created_by text,
  constraint commercial_terms_pkey primary key (term_id),
  constraint "a term ends after it begins" check (valid_to > valid_from),
  constraint "a term begins after 2015" check (valid_from >= '2015-01-01'),
  constraint "a term has the figures of its kind" check (
    case kind
      when 'discount' then percent is not null and num_nonnulls(amount, currency, rate) = 0
      when 'currency' then num_nonnulls(currency, rate) = 2 and num_nonnulls(percent, amount, provider, model) = 0
      when 'credit' then amount is not null and num_nonnulls(percent, currency, rate) = 0
      when 'commitment' then amount is not null and num_nonnulls(percent, currency, rate) = 0
      when 'provisioned' then amount is not null and num_nonnulls(percent, currency, rate) = 0
      else false
    end
  ),
  constraint "a discount is above 0 to 100 percent" check (percent > 0 and percent <= 100),
  constraint "a sum is above 0 to a billion dollars" check (amount > 0 and amount < 1e9),
  constraint "a currency has an ISO code and a rate" check (currency ~ '^[A-Z]{3}$' and rate > 0 and rate < 1e9),
  constraint "a term names what it is about in lower case" check (
    provider = lower(btrim(provider)) and model = lower(btrim(model)) and char_length(provider) between 1 and 200
    and char_length(model) between 1 and 200 and char_length(name) <= 200 and char_length(source) between 1 and 500
  )
);

comment on table observability_internal.commercial_terms is
'Terms on UTC days in [valid_from, valid_to). Appended, never changed; an end of one is a row of commercial_term_ends.';

comment on column observability_internal.commercial_terms.amount is
'US dollars: what a credit or commitment holds, or what an hour of provisioned throughput costs.';

comment on column observability_internal.commercial_terms.rate is 'Units of the currency for a US dollar.';

create table observability_internal.commercial_term_ends (
  end_id bigint generated always as identity,
  term_id bigint not null,
  valid_to date not null,
  reason text,
  ended_at timestamptz not null default now(),
  ended_by text,
  constraint commercial_term_ends_pkey primary key (end_id),
  constraint commercial_term_ends_term_id_fkey foreign key (term_id)
  references observability_internal.commercial_terms (term_id),
  constraint "a reason has at most 500 characters" check (char_length(reason) <= 500)
);

comment on table observability_internal.commercial_term_ends is
'Ends that were decided after a term was appended: the last one of a term counts. On or before its first day it never applies.';

create index commercial_term_ends_term_id_idx on observability_internal.commercial_term_ends (term_id, end_id);

alter table observability_internal.commercial_terms enable row level security;

alter table observability_internal.commercial_term_ends enable row level security;

grant select on table observability_internal.commercial_terms to authenticated;

grant select, insert on table observability_internal.commercial_terms to service_role;

grant select on table observability_internal.commercial_term_ends to authenticated;

grant select, insert on table observability_internal.commercial_term_ends to service_role;

create policy "analysts read terms" on observability_internal.commercial_terms
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read ends of terms" on observability_internal.commercial_term_ends
for select to authenticated
using ((select observability_internal.can_read_all()));

create function observability_internal.describe_term(term observability_internal.commercial_terms) returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'term_id', term.term_id, 'kind', term.kind, 'valid_from', term.valid_from,
    'valid_to', coalesce(ended.valid_to, term.valid_to), 'provider', term.provider, 'model', term.model,
    'percent', term.percent::text, 'amount', term.amount::text, 'currency', term.currency, 'rate', term.rate::text,
    'name', term.name, 'source', term.source, 'created_at', term.created_at, 'created_by', term.created_by,
    'ended_by', ended.ended_by, 'end_reason', ended.reason
  )
  from (select 1) as one
  left join lateral (
    select e.valid_to, e.ended_by, e.reason
    from observability_internal.commercial_term_ends as e
    where e.term_id = term.term_id
    order by e.end_id desc
    limit 1
  ) as ended on true;
$$;

comment on function observability_internal.describe_term is 'A term as JSON with the end that counts, figures as exact text.';
revoke execute on function observability_internal.describe_term from public;
grant execute on function observability_internal.describe_term to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.add_term(term jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_term observability_internal.commercial_terms;
  v_name text;
begin
  perform observability_internal.require_access('{ops,service}');
  if add_term.term is null or jsonb_typeof(add_term.term) <> 'object' then
    raise exception 'a term must be a JSON object' using errcode = '22023';
  end if;
  for v_name in select k.key from jsonb_object_keys(add_term.term) as k (key) loop
    if v_name <> all (
      '{kind,valid_from,valid_to,provider,model,percent,amount,currency,rate,name,source}'::text[]
    ) then
      raise exception 'unknown key %', left(v_name, 100) using errcode = '22023';
    end if;
    -- Text, because a JSON number may have passed through binary floats on its way.
    if v_name in ('percent', 'amount', 'rate') and jsonb_typeof(add_term.term -> v_name) <> 'null' and (
      jsonb_typeof(add_term.term -> v_name) <> 'string'
      or (add_term.term ->> v_name) !~ '^[0-9]{1,9}(\.[0-9]{1,18})?$'
    ) then
      raise exception '% must be a decimal as text', v_name using errcode = '22023';
    end if;
  end loop;
  insert into observability_internal.commercial_terms as t (
    kind, valid_from, valid_to, provider, model, percent, amount, currency, rate, name, source, created_by
  )
  values (
    add_term.term ->> 'kind',
    coalesce((add_term.term ->> 'valid_from')::date, (now() at time zone 'UTC')::date),
    (add_term.term ->> 'valid_to')::date, nullif(lower(btrim(add_term.term ->> 'provider')), ''),
    nullif(lower(btrim(add_term.term ->> 'model')), ''), (add_term.term ->> 'percent')::numeric,
    (add_term.term ->> 'amount')::numeric, upper(btrim(add_term.term ->> 'currency')),
    (add_term.term ->> 'rate')::numeric, coalesce(add_term.term ->> 'name', ''), add_term.term ->> 'source',
    coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  )
  returning t.* into v_term;
  return observability_internal.describe_term(v_term);
end;
$$;

comment on function observability.add_term is
'Appends a term {kind, valid_from, valid_to, provider, model, percent, amount, currency, rate, name, source}. Ops only. Returns it.';
revoke execute on function observability.add_term from public;
grant execute on function observability.add_term to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.end_term(term_id bigint, valid_to date, reason text default null) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_term observability_internal.commercial_terms;
begin
  perform observability_internal.require_access('{ops,service}');
  select t.* into v_term from observability_internal.commercial_terms as t where t.term_id = end_term.term_id;
  if not found then
    raise exception 'there is no term %', end_term.term_id using errcode = '22023';
  end if;
  if end_term.valid_to is null then
    raise exception 'valid_to is the first day after the term' using errcode = '22023';
  end if;
  insert into observability_internal.commercial_term_ends (term_id, valid_to, reason, ended_by)
  values (
    end_term.term_id, end_term.valid_to, end_term.reason, coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  );
  return observability_internal.describe_term(v_term);
end;
$$;

comment on function observability.end_term is
'Ends a term before valid_to; on or before its first day it never applies. Appended, the last end counts. Ops only. Returns the term.';
revoke execute on function observability.end_term from public;
grant execute on function observability.end_term to authenticated, service_role;

create function observability.get_terms() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  return jsonb_build_object('terms', coalesce((
    select jsonb_agg(observability_internal.describe_term(t) order by t.term_id)
    from observability_internal.commercial_terms as t
  ), '[]'));
end;
$$;

comment on function observability.get_terms is 'Every term with its end as {terms: [...]}, the oldest first. Analysts and ops.';
revoke execute on function observability.get_terms from public;
grant execute on function observability.get_terms to authenticated, service_role;

create function observability.get_cost_sums(from_day date, to_day date) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
set statement_timeout = '8s'
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  perform observability_internal.require_access('{analyst,ops,service}');
  if get_cost_sums.to_day > get_cost_sums.from_day and get_cost_sums.to_day - get_cost_sums.from_day <= 1100 then
    return jsonb_build_object('sums', coalesce((
      with sums as (
        select
          (r.bucket at time zone 'UTC')::date as day, d.provider, d.model,
          trim_scale(sum(r.cost)) as cost, sum(r.fallback_cost) as fallback_cost,
          sum(r.prompt_tokens + r.completion_tokens) as tokens, sum(r.requests) as requests,
          sum(r.unpriced_requests) as unpriced_requests
        from observability_internal.alert_cells(
          null, get_cost_sums.from_day::timestamp at time zone 'UTC', get_cost_sums.to_day::timestamp at time zone 'UTC'
        ) as r
        inner join observability_internal.dimensions as d using (dim_id)
        where d.environment <> 'demo'
        group by (r.bucket at time zone 'UTC')::date, d.provider, d.model
      )
      select
        jsonb_agg(jsonb_build_object(
          'day', s.day, 'provider', s.provider, 'model', s.model, 'cost', s.cost::text,
          'fallback_cost', s.fallback_cost::text, 'tokens', s.tokens, 'requests', s.requests,
          'unpriced_requests', s.unpriced_requests
        ) order by s.day, s.provider, s.model)
      from sums as s
    ), '[]'));
  end if;
  raise exception 'to_day must be 1 to 1,100 days after from_day' using errcode = '22023';
end;
$$;

comment on function observability.get_cost_sums is
'List cost by UTC day, provider and model, without what stands in for an unknown price and without demo data. Analysts and ops.';
revoke execute on function observability.get_cost_sums from public;
grant execute on function observability.get_cost_sums to authenticated, service_role;
