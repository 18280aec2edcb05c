-- Purpose: hand the outbox to the workers under a lease, and record how each attempt ended.
-- Locks: row locks on the messages taken; waits for nobody.

create function observability_internal.max_notification_attempts() returns integer
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select 15;
$$;

comment on function observability_internal.max_notification_attempts() is 'Attempts before a message is dead: about five hours with the delays below.';

-- Waits of 5 s, 10 s, 20 s … at most an hour; the upper half of each is random, so that retries do not come in step.
create function observability_internal.notification_delay(attempts integer) returns interval
language sql
volatile
security invoker
set search_path = ''
as $$
  select make_interval(secs => least(5 * 2 ^ (attempts - 1), 3600) * (0.5 + random() / 2));
$$;

comment on function observability_internal.notification_delay(integer) is 'How long to wait after so many failed attempts.';

create function observability.claim_notifications(
  worker text, max_count integer default 20, lease_s integer default 60, as_of timestamptz default null
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(claim_notifications.as_of, clock_timestamp());
  v_claimed jsonb;
begin
  if coalesce(claim_notifications.worker, '') = '' then
    raise exception 'a worker has a name' using errcode = '22023';
  end if;
  if max_count is null or max_count not between 1 and 1000 or lease_s is null or lease_s not between 1 and 3600 then
    raise exception 'max_count is from 1 to 1000 and lease_s from 1 to 3600' using errcode = '22023';
  end if;

  -- What can never be sent must not wait for ever: its last lease ran out, or its channel is gone or switched off.
  with hopeless as (
    select
      n.notification_id,
      case
        when n.channel_id is null then 'the channel was deleted'
        when not c.is_enabled then 'the channel is switched off'
        when s.channel_id is null then 'the channel has no address'
        else 'the worker vanished during the last attempt'
      end as reason
    from observability_internal.notifications as n
    left join observability.notification_channels as c on n.channel_id = c.channel_id
    left join observability_internal.channel_secrets as s on n.channel_id = s.channel_id
    where n.state = 'pending' and coalesce(n.leased_until, '-infinity') <= v_now
      and (
        c.channel_id is null or not c.is_enabled or s.channel_id is null
        or n.attempts >= observability_internal.max_notification_attempts()
      )
    for update of n skip locked
  )
  update observability_internal.notifications as n
  set state = 'dead', last_error = h.reason, leased_by = null, leased_until = null
  from hopeless as h
  where n.notification_id = h.notification_id;

  with due as (
    select n.notification_id
    from observability_internal.notifications as n
    where n.state = 'pending' and n.next_attempt_at <= v_now and coalesce(n.leased_until, '-infinity') <= v_now
      -- The end of an alert is not told before its beginning.
      and not exists (
        select from observability_internal.notifications as earlier
        where earlier.alert_id = n.alert_id and earlier.channel_id = n.channel_id
          and n.event = 'resolved' and earlier.event = 'firing' and earlier.state = 'pending'
      )
    order by n.next_attempt_at, n.notification_id
    limit claim_notifications.max_count
    for update of n skip locked
  ),
  claimed as (
    update observability_internal.notifications as n
    set
      attempts = n.attempts + 1, leased_by = claim_notifications.worker,
      leased_until = v_now + make_interval(secs => claim_notifications.lease_s)
    from due as d
    where n.notification_id = d.notification_id
    returning n.*
  )
  select
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'notification_id', n.notification_id, 'idempotency_key', n.idempotency_key, 'attempt', n.attempts,
          'event', n.event, 'channel_name', n.channel_name, 'kind', c.kind, 'target_url', s.target_url,
          'signing_secret', s.signing_secret, 'payload', n.payload
        )
        order by n.next_attempt_at, n.notification_id
      ), '[]'
    )
  into v_claimed
  from claimed as n
  inner join observability.notification_channels as c on n.channel_id = c.channel_id
  inner join observability_internal.channel_secrets as s on n.channel_id = s.channel_id;
  return v_claimed;
end;
$$;

comment on function observability.claim_notifications(text, integer, integer, timestamptz) is 'Leases due messages to a worker, with the address and the secret: [{notification_id, idempotency_key, attempt, event, channel_name, kind, target_url, signing_secret, payload}].';

create function observability.finish_notification(
  notification_id bigint, worker text, ok boolean, error text default null, is_final boolean default false,
  as_of timestamptz default null
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(finish_notification.as_of, clock_timestamp());
  v_message observability_internal.notifications;
  v_is_dead boolean;
begin
  if finish_notification.ok is null then
    raise exception 'ok is true or false' using errcode = '22023';
  end if;
  select * into v_message
  from observability_internal.notifications as n
  where n.notification_id = finish_notification.notification_id
  for update;
  if not found then
    raise exception 'there is no message %', finish_notification.notification_id using errcode = '22023';
  end if;
  -- What was delivered stays delivered, even past the lease. A failure counts only for whoever holds the lease.
  if v_message.state = 'sent' or not ok and v_message.leased_by is distinct from finish_notification.worker then
    return jsonb_build_object('state', v_message.state, 'is_stale', true);
  end if;
  v_is_dead := not ok
    and (coalesce(is_final, false) or v_message.attempts >= observability_internal.max_notification_attempts());
  update observability_internal.notifications as n
  set
    state = case when ok then 'sent' when v_is_dead then 'dead' else 'pending' end,
    sent_at = case when ok then v_now end,
    last_error = case when not ok then left(coalesce(error, 'unknown'), 500) end,
    next_attempt_at = case
      when ok or v_is_dead then n.next_attempt_at
      else v_now + observability_internal.notification_delay(n.attempts)
    end,
    leased_by = null, leased_until = null
  where n.notification_id = v_message.notification_id
  returning n.* into v_message;
  return jsonb_build_object(
    'state', v_message.state, 'attempts', v_message.attempts, 'is_stale', false,
    'next_attempt_at', case when v_message.state = 'pending' then v_message.next_attempt_at end
  );
end;
$$;

comment on function observability.finish_notification(bigint, text, boolean, text, boolean, timestamptz) is 'Records how an attempt ended: sent; pending again after a growing delay; or dead, at once where the failure is final.';

grant execute on function observability_internal.max_notification_attempts() to service_role;

grant execute on function observability_internal.notification_delay(integer) to service_role;

grant execute on function observability.claim_notifications(text, integer, integer, timestamptz) to service_role;

grant execute on function observability.finish_notification(bigint, text, boolean, text, boolean, timestamptz) to service_role;
