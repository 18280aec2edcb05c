-- What people thought of an answer: a thumb up or down by event, without any text.
-- Locks: none; it only creates.

create table observability_internal.feedback (
  event_id uuid not null,
  rating smallint not null,
  received_at timestamptz not null default now(),
  constraint feedback_pkey primary key (event_id),
  constraint "a thumb is up or down" check (rating in (-1, 1))
);

comment on table observability_internal.feedback is
'The last thumb that was given to an answer; it may come before its call, and is kept for 400 days.';

create index feedback_received_at_idx on observability_internal.feedback using brin (received_at);

alter table observability_internal.feedback enable row level security;

grant select on table observability_internal.feedback to authenticated;

grant select, insert, update, delete on table observability_internal.feedback to service_role;

create policy "analysts read what people thought" on observability_internal.feedback
for select to authenticated
using ((select observability_internal.can_read_all()));

create function observability.record_feedback(feedback jsonb) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_count integer;
begin
  if jsonb_typeof(feedback) is distinct from 'array' or jsonb_array_length(feedback) > 10000 then
    raise exception 'feedback is an array of at most 10,000 objects' using errcode = '22023';
  end if;
  insert into observability_internal.feedback as f (event_id, rating)
  select distinct on (e.event_id) e.event_id, e.rating
  from rows from (jsonb_to_recordset(feedback) as (event_id uuid, rating smallint)) with ordinality as e (event_id, rating, position)
  order by e.event_id, e.position desc
  on conflict (event_id) do update set rating = excluded.rating, received_at = now()
  where f.rating <> excluded.rating;
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability.record_feedback is
'Keeps thumbs: [{event_id, rating: 1 or -1}], the last one of an event; returns how many are new or changed.';
revoke execute on function observability.record_feedback from public;
grant execute on function observability.record_feedback to service_role;
