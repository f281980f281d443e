//! Shadows: they count what live destinations count, by a catalogue of their own, and never call.

use crate::Worker;
use crate::steps::{APART_MAX, CURED_MAX};

impl Worker {
    /// What shadows need now and then: hours for what is carried; rarely, what may move by itself and what is cured. A step
    /// that fails keeps no other from its turn.
    ///
    /// # Errors
    /// As Postgres says.
    pub(crate) async fn maintain_shadows(&self, rarely: bool) -> Result<(), outbox::Error> {
        if self.directory.shadows().is_empty() {
            return Ok(());
        }
        let mut done = outbox::maintain::carry(&self.database, true).await.map(drop);
        done = done.and(outbox::maintain::month_end(&self.database, true).await.map(drop));
        if rarely {
            done = done.and(outbox::maintain::reconsider_stuck(&self.database, true).await.map(drop));
            done = done.and(outbox::maintain::return_cured_shadow(&self.database, CURED_MAX).await.map(drop));
        }
        done
    }

    /// Folds and cuts for the shadows, in transactions of their own; returns how many usages and hours. Without a shadow
    /// it does nothing at all.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn shadow(&self) -> Result<usize, outbox::Error> {
        let shadows = self.directory.shadows();
        if shadows.is_empty() {
            return Ok(0);
        }
        let mut done = 0;
        for shadow in &shadows {
            let folded = outbox::fold::fold_shadow(&self.database, *shadow, self.options.fold_max).await?;
            done += folded.through();
        }
        let mut places = self.shadow_places.lock().await;
        let apart = (APART_MAX, done > 0);
        done += outbox::fold::fold_shadow_apart(&self.database, &mut places, apart).await?.through();
        let freeze = |sum: &outbox::cut::Sum| self.directory.freeze(sum);
        let cut = self.shadow_cutter.lock().await.cut(&self.database, &shadows, &freeze).await?;
        if cut.due > 0 {
            self.wake.notify_waiters();
        }
        Ok(done + cut.cut)
    }
}
