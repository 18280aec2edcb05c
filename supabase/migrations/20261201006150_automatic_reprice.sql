-- What the automatic repricing remembers: the prices it used last, and whether the catalogue could be fetched.
-- Locks: none; it only creates.

create function observability.get_price_state() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'price_fingerprint', s.price_fingerprint, 'model_digests', coalesce(s.model_digests, '{}'),
    'late_batches', coalesce(s.late_batches, 0), 'repriced_batches', coalesce(s.repriced_batches, 0),
    'models', (
      select coalesce(jsonb_agg(jsonb_build_array(d.provider, d.model) order by d.provider, d.model), '[]')
      from (select distinct n.provider, n.model from observability_internal.dimensions as n) as d
    )
  )
  from (values (true)) as o (is_only)
  left join observability_internal.price_state as s using (is_only);
$$;

comment on function observability.get_price_state is
'What the automatic repricing saw last, and the recorded models: {price_fingerprint, model_digests, late_batches,'
' repriced_batches, models: [[provider, model]]}.';
revoke execute on function observability.get_price_state from public;
grant execute on function observability.get_price_state to service_role;

create function observability.save_price_state(price_fingerprint text, model_digests jsonb, repriced_batches bigint) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.price_state as s (price_fingerprint, model_digests, repriced_batches)
  values (save_price_state.price_fingerprint, save_price_state.model_digests, save_price_state.repriced_batches)
  on conflict on constraint price_state_pkey do update set
    price_fingerprint = excluded.price_fingerprint, model_digests = excluded.model_digests,
    repriced_batches = excluded.repriced_batches;
$$;

comment on function observability.save_price_state is 'Notes that calls of the last 30 days have been repriced with these prices.';
revoke execute on function observability.save_price_state from public;
grant execute on function observability.save_price_state to service_role;

create function observability_internal.latest_automatic_reprice() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'run_id', r.run_id, 'is_automatic', r.is_automatic, 'finished_at', r.finished_at, 'rows_corrected', r.rows_corrected,
    'old_cost', r.old_cost::text, 'new_cost', r.new_cost::text
  )
  from observability_internal.reprice_runs as r
  where r.is_automatic and r.rows_corrected > 0 and r.finished_at > now() - interval '7 days'
  order by r.run_id desc
  limit 1;
$$;

comment on function observability_internal.latest_automatic_reprice is
'The last run of the worker by itself that corrected calls, within a week; null for none and for members.';
revoke execute on function observability_internal.latest_automatic_reprice from public;
grant execute on function observability_internal.latest_automatic_reprice to authenticated, service_role;

create function observability.note_catalogue(error text default null) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_error constant text := left(note_catalogue.error, 500);
  v_before text;
begin
  select s.catalogue_error into v_before from observability_internal.price_state as s;
  insert into observability_internal.price_state as s (catalogue_checked_at, catalogue_error, catalogue_failing_since)
  values (now(), v_error, case when v_error is not null then now() end)
  on conflict on constraint price_state_pkey do update set
    catalogue_checked_at = excluded.catalogue_checked_at, catalogue_error = excluded.catalogue_error,
    catalogue_failing_since = case
      when excluded.catalogue_error is not null then coalesce(s.catalogue_failing_since, now())
    end;
  return (v_before is null) <> (v_error is null);
end;
$$;

comment on function observability.note_catalogue is
'Notes that the published catalogue was asked for, and why it could not be had. True when that is otherwise than before.';
revoke execute on function observability.note_catalogue from public;
grant execute on function observability.note_catalogue to service_role;
